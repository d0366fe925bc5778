/* What must hold whenever a system call fails, memory ends, the disk is full or the process is killed while a
 * checkpoint is written: the one before it can be loaded, and the new one is whole or absent. */
#define _GNU_SOURCE
#include "core/rng.h"

#include "tests/faults/faults.c"

#include "tests/checkpoint_run.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/time.h>

/* Entries of RUN/checkpoints that begin with a dot. */
static int leftovers(const char *folder) {
    FileList list;
    Error e;
    int n = 0;
    assert_true(file_list_open(&list, run_path(folder, "checkpoints"), &e));
    for (int64_t i = 0; i < list.count; i++) n += list.name[i][0] == '.';
    file_list_close(&list);
    return n;
}

/* The law. `before`: the step that was there; `after`: the one under way. Returns what a resuming run finds.
 */
static int64_t check_run(const char *folder, int64_t before, int64_t after) {
    char note[CHECKPOINT_NOTE], name[64];
    Error e = {0};
    int64_t found = run_load(folder, note, &e);
    if (found != before && found != after) fail_msg("found step %" PRId64 ": %s", found, e.text);
    if (found >= 0) assert_string_equal(note, "");
    /* `last` is never gone, not even for a moment */
    if (before >= 0) assert_true(run_load(run_path(folder, "checkpoints/last"), note, &e) > 0);
    static const int64_t step[] = {10, 20};
    for (int i = 0; i < COUNT(step); i++) {
        snprintf(name, sizeof name, "checkpoints/%" PRId64, step[i]);
        if (file_kind_link(run_path(folder, name)) == FILE_NONE) continue;
        assert_int_equal(run_load(run_path(folder, name), note, &e), step[i]);
        assert_string_equal(note, "");
    }
    return found;
}

/* After the trouble is over: the run is taken up again and saves. */
static void check_resumes(const char *folder) {
    char note[CHECKPOINT_NOTE];
    Error e;
    CheckpointStore *s = run_open(folder, true, 0);
    assert_int_equal(leftovers(folder), 0);
    run_must_save(s, 20, false);
    assert_int_equal(run_load(folder, note, &e), 20);
    assert_string_equal(note, "");
    assert_int_equal(leftovers(folder), 0);
    checkpoint_store_close(s);
}

/* The n-th call of every kind fails in several ways, for every n; once with the step new, once with it there.
 */
static void failing_calls(void **state) {
    (void)state;
    static const int action[] = {EIO, FAULT_FULL, FAULT_SHORT, EINTR};
    for (int twice = 0; twice < 2; twice++)
        for (int kind = FAULT_WRITE; kind <= FAULT_REMOVE; kind++)
            for (int a = 0; a < COUNT(action); a++)
                for (long n = 0;; n++) {
                    if (kind != FAULT_WRITE && action[a] != EIO && action[a] != FAULT_FULL) break;
                    char *folder = run_folder();
                    uint64_t live = mem_stat().live;
                    CheckpointSaved saved;
                    Error e = {0};
                    CheckpointStore *s = run_open(folder, false, 0);
                    run_must_save(s, 10, false);
                    if (twice) run_must_save(s, 20, false);
                    fault_arm((FaultKind)kind, n, action[a]);
                    bool ok = run_save(s, 20, true, &saved, &e);
                    fault_disarm();
                    checkpoint_store_close(s);
                    assert_int_equal(mem_stat().live, live);
                    int64_t found = check_run(folder, twice ? 20 : 10, 20);
                    if (ok) assert_int_equal(found, 20);
                    if (!ok && (!strstr(e.text, "checkpoint 20 was ") || !strstr(e.text, "cannot")))
                        fail_msg("%s", e.text);
                    if (!ok && action[a] == FAULT_FULL && kind != FAULT_REMOVE && !strstr(e.text, "wanted, "))
                        fail_msg("%s", e.text);
                    if (kind == FAULT_WRITE && (action[a] == FAULT_SHORT || action[a] == EINTR))
                        assert_true(ok);
                    /* the replaced checkpoint is kept as long as its successor is not known to be durable */
                    bool placed = !ok && twice && strstr(e.text, "perhaps not for good");
                    if (kind != FAULT_REMOVE) assert_int_equal(leftovers(folder), placed);
                    bool past = fault_count() <= n;
                    if (past) assert_true(ok && n > 0);
                    if (!past && kind != FAULT_REMOVE && (action[a] == EIO || action[a] == FAULT_FULL))
                        assert_false(ok); /* no failure goes unheard */
                    check_resumes(folder);
                    run_clean(folder);
                    if (past) break;
                }
}

/* The same for a run's start: an error, and the next start goes well. */
static void failing_start(void **state) {
    (void)state;
    for (int resume = 0; resume < 2; resume++)
        for (long n = 0;; n++) {
            char *folder = run_folder();
            uint64_t live = mem_stat().live;
            Error e = {0};
            CheckpointStore *s;
            if (resume) {
                s = run_open(folder, false, 0);
                run_must_save(s, 10, false);
                checkpoint_store_close(s);
                assert_true(file_make_folder(run_path(folder, "checkpoints/.20.tmp.4711/inner"), &e));
            }
            CheckpointSettings settings = run_settings(folder, resume, 0);
            fault_arm(FAULT_ANY, n, EIO);
            bool ok = checkpoint_store_open(&s, &settings, &e);
            fault_disarm();
            if (!ok) assert_non_null(strstr(e.text, "cannot"));
            checkpoint_store_close(s);
            assert_int_equal(mem_stat().live, live);
            if (resume) check_run(folder, 10, 10);
            bool past = fault_count() <= n;
            if (past) assert_true(ok && n > 0);
            check_resumes(folder);
            run_clean(folder);
            if (past) break;
        }
}

/* File systems without hard links, or without exchange: a longer way to the same end. */
static void poor_file_systems(void **state) {
    (void)state;
    static const int code[] = {EPERM, EXDEV, EOPNOTSUPP, EMLINK};
    char *folder = run_folder(), note[CHECKPOINT_NOTE];
    Error e;
    CheckpointSaved saved;
    struct stat one, two;
    CheckpointStore *s = run_open(folder, false, 0);
    for (int i = 0; i < COUNT(code); i++) {
        fault_arm(FAULT_LINK, 0, code[i]);
        assert_true(run_save(s, 20, false, &saved, &e));
        fault_disarm();
        assert_int_equal(run_load(folder, note, &e), 20);
        assert_int_equal(stat(run_path(folder, "manifest.jsonl"), &one), 0);
        assert_int_equal(stat(run_path(folder, "checkpoints/20/manifest.jsonl"), &two), 0);
        assert_true(one.st_ino != two.st_ino && one.st_size == two.st_size);
    }
    fault_arm(FAULT_RENAME, 1, EINVAL); /* the exchange */
    assert_true(run_save(s, 20, false, &saved, &e));
    fault_disarm();
    assert_int_equal(run_load(folder, note, &e), 20);
    assert_int_equal(leftovers(folder), 0);
    checkpoint_store_close(s);
    run_clean(folder);
}

/* A disk that changes a bit and says nothing. With keep 1 the old checkpoint goes only when the new one reads
 * back; else it stays, is what a resuming run gets, and the note says so. */
static void lying_disk(void **state) {
    (void)state;
    for (long n = 0;; n++) {
        char *folder = run_folder(), note[CHECKPOINT_NOTE];
        CheckpointSaved saved;
        Error e = {0};
        CheckpointStore *s = run_open(folder, false, 1);
        run_must_save(s, 10, false);
        fault_arm(FAULT_WRITE, n, FAULT_FLIP);
        assert_true(run_save(s, 20, false, &saved, &e));
        fault_disarm();
        checkpoint_store_close(s);
        bool past = fault_count() <= n;
        if (past) {
            assert_string_equal(run_steps(folder), "20");
            assert_string_equal(saved.note, "");
        } else {
            assert_string_equal(run_steps(folder), "10 20");
            assert_non_null(
                strstr(saved.note, "checkpoint 10 is kept, since the new one does not read back"));
            assert_int_equal(run_load(folder, note, &e), 10);
        }
        run_clean(folder);
        if (past) break;
    }
}

/* -------------------------------------------------------------------------------------------- killing --- */

/* Runs `work` in a child; true if it was killed. */
static bool in_child(void (*work)(const char *folder, long n), const char *folder, long n) {
    int status;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        work(folder, n);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) assert_int_equal(WTERMSIG(status), SIGKILL);
    if (WIFEXITED(status)) assert_int_equal(WEXITSTATUS(status), 0);
    return WIFSIGNALED(status);
}

static void save_first(const char *folder, bool resume, long n, int action) {
    CheckpointSettings settings = run_settings(folder, resume, 1);
    CheckpointStore *s;
    CheckpointSaved saved;
    Error e;
    fault_arm(FAULT_ANY, n, action);
    if (!checkpoint_store_open(&s, &settings, &e) || !run_save(s, 20, true, &saved, &e)) _exit(1);
}

static void killed_first(const char *folder, long n) {
    save_first(folder, false, n, FAULT_KILL);
}

static void torn_first(const char *folder, long n) {
    save_first(folder, false, n, FAULT_TEAR);
}

static void killed_later(const char *folder, long n) {
    save_first(folder, true, n, FAULT_KILL);
}

static void torn_later(const char *folder, long n) {
    save_first(folder, true, n, FAULT_TEAR);
}

/* Killed before each call of a run's first save, and of a later one that also removes the one before. */
static void killed_at_every_call(void **state) {
    (void)state;
    static void (*const work[])(const char *, long) = {killed_first, torn_first, killed_later, torn_later};
    for (int w = 0; w < COUNT(work); w++) {
        bool killed = true;
        int whole = 0;
        for (long n = 0; killed; n++) {
            char *folder = run_folder();
            if (w >= 2) {
                CheckpointStore *s = run_open(folder, false, 0);
                run_must_save(s, 10, false);
                checkpoint_store_close(s);
            }
            killed = in_child(work[w], folder, n);
            int64_t found = check_run(folder, w >= 2 ? 10 : -1, 20);
            if (!killed) assert_int_equal(found, 20);
            whole += found == 20;
            check_resumes(folder);
            run_clean(folder);
            assert_true(n < 1000);
        }
        assert_true(whole > 1); /* some kills came after the rename */
    }
}

static void save_for_ever(const char *folder, long n) {
    CheckpointSettings settings = run_settings(folder, true, 2);
    CheckpointStore *s;
    CheckpointSaved saved;
    Error e;
    (void)n;
    struct itimerval timer = {.it_value.tv_usec = n};
    signal(SIGALRM, SIG_DFL);
    if (!checkpoint_store_open(&s, &settings, &e)) _exit(1);
    setitimer(ITIMER_REAL, &timer, NULL);
    for (int64_t step = 30;; step += 10)
        if (!run_save(s, step, step % 30 == 0, &saved, &e)) _exit(1);
}

/* And at any time at all, one life after the other on the same folder. */
static void killed_at_any_time(void **state) {
    (void)state;
    char *folder = run_folder(), note[CHECKPOINT_NOTE];
    CheckpointStore *s = run_open(folder, false, 0);
    Rng r = rng_open(7, RNG_TEST, 0, 0);
    run_must_save(s, 10, false);
    checkpoint_store_close(s);
    for (int life = 0; life < 40; life++) {
        int status;
        Error e = {0};
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) save_for_ever(folder, 1000 + (long)rng_below(&r, 30000));
        rng_u32(&r);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
        if (run_load(folder, note, &e) < 10) fail_msg("%s", e.text);
        assert_string_equal(note, "");
    }
    run_clean(folder);
}

/* ------------------------------------------------------------------------------------------ full disk --- */

enum { BIG = 400000 }; /* bytes of a large tensor */

static bool save_big(CheckpointStore *s, int64_t step, CheckpointSaved *saved, Error *e) {
    Run r;
    run_init(&r, step);
    uint8_t *big = calloc(BIG, 1);
    Tensor t = {big, {BIG}, 1, .dtype = DT_U8};
    NamedTensor list[RUN_MODEL + 1] = {r.model[0], r.model[1], r.model[2], {"big", &t}};
    CheckpointContents c = run_contents(&r, false);
    c.part[CHECKPOINT_MODEL] = (NamedTensors){list, RUN_MODEL + 1};
    bool ok = checkpoint_store_save(s, &c, saved, e);
    free(big);
    return ok;
}

static bool loads_big(const char *folder, int64_t step) {
    char note[CHECKPOINT_NOTE];
    Checkpoint *c;
    Run r;
    Error e;
    run_init(&r, 999);
    CheckpointWant want = {CHECKPOINT_MODEL, {r.model, RUN_MODEL}, false};
    if (!checkpoint_open(&c, folder, note, &e)) return false;
    bool ok = note[0] == '\0' && checkpoint_state(c)->step == step && checkpoint_read(c, &want, 1, &e) &&
              r.weight[0] == run_value(step, 0);
    checkpoint_close(c);
    return ok;
}

/* A disk of one megabyte takes two such checkpoints, and not a third. Exit 77: mounting is not permitted. */
static void fill_disk(const char *folder, long n) {
    CheckpointSettings settings = run_settings(folder, false, 0);
    CheckpointStore *s;
    CheckpointSaved saved;
    Error e = {0};
    (void)n;
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) _exit(77);
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) _exit(77);
    if (mount("lethe", folder, "tmpfs", 0, "size=1m") != 0) _exit(77);
    if (!checkpoint_store_open(&s, &settings, &e)) _exit(1);
    if (!save_big(s, 10, &saved, &e) || !save_big(s, 20, &saved, &e)) _exit(2);
    if (save_big(s, 30, &saved, &e)) _exit(3);
    if (!strstr(e.text, "No space left") || !strstr(e.text, "401 kB wanted") || !strstr(e.text, " free)") ||
        !strstr(e.text, "the one of step 20 stays usable"))
        _exit(4);
    if (!loads_big(folder, 20) || leftovers(folder) != 0) _exit(5);
    /* room again: it goes on */
    if (!file_remove_tree(run_path(folder, "checkpoints/10"), &e) || !save_big(s, 30, &saved, &e)) _exit(6);
    if (!loads_big(folder, 30)) _exit(7);
    checkpoint_store_close(s);
    _exit(0);
}

static void full_disk(void **state) {
    (void)state;
    char *folder = run_folder();
    int status;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) fill_disk(folder, 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    run_clean(folder);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        print_message("skipped: mounting a small disk is not permitted here\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void file_size_limit(void **state) {
    (void)state;
    char *folder = run_folder();
    struct rlimit old, small;
    CheckpointSaved saved;
    Error e = {0};
    CheckpointStore *s = run_open(folder, false, 0);
    assert_true(save_big(s, 10, &saved, &e));
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){BIG / 2, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    bool ok = save_big(s, 20, &saved, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_false(ok);
    assert_non_null(strstr(e.text, "the one of step 10 stays usable"));
    assert_true(loads_big(folder, 10));
    assert_int_equal(leftovers(folder), 0);
    checkpoint_store_close(s);
    run_clean(folder);
}

/* --------------------------------------------------------------------------------------------- memory --- */

static void out_of_memory(void **state) {
    (void)state;
    char *folder = run_folder(), note[CHECKPOINT_NOTE];
    CheckpointSettings settings = run_settings(folder, true, 0);
    CheckpointStore *s = NULL;
    CheckpointSaved saved;
    Error e;
    uint64_t live = mem_stat().live;
    bool ok = false;
    for (int n = 0; !ok; n++) {
        mem_fail_after(n);
        ok = checkpoint_store_open(&s, &settings, &e);
        mem_fail_after(-1);
        if (ok) break;
        assert_int_equal(e.code, ERROR_MEMORY);
        assert_int_equal(mem_stat().live, live);
    }
    run_must_save(s, 10, false);
    live = mem_stat().live;
    ok = false;
    for (int n = 0; !ok; n++) {
        mem_fail_after(n);
        ok = run_save(s, 20, true, &saved, &e);
        mem_fail_after(-1);
        assert_int_equal(mem_stat().live, live);
        if (!ok) assert_int_equal(e.code, ERROR_MEMORY);
        assert_int_equal(check_run(folder, 10, 20), ok ? 20 : 10);
        assert_int_equal(leftovers(folder), 0);
    }
    for (int64_t found = -1, n = 0; found < 0; n++) {
        mem_fail_after(n);
        found = run_load(folder, note, &e);
        mem_fail_after(-1);
        assert_int_equal(mem_stat().live, live);
        assert_true(found == -1 || found == 20 || found == -2);
        if (found != 20) assert_int_equal(e.code, ERROR_MEMORY); /* and not taken for damage */
        if (found == -2) found = -1;
    }
    checkpoint_store_close(s);
    run_clean(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failing_calls),
        cmocka_unit_test(failing_start),
        cmocka_unit_test(poor_file_systems),
        cmocka_unit_test(lying_disk),
        cmocka_unit_test(killed_at_every_call),
        cmocka_unit_test(killed_at_any_time),
        cmocka_unit_test(full_disk),
        cmocka_unit_test(file_size_limit),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
