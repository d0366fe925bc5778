/* Checkpoints that are written and read in peace, and damaged ones. What happens when writing fails or is
 * killed is in test_checkpoint_faults.c. */
#define _GNU_SOURCE
#include "core/rng.h"

#include "tests/checkpoint_run.h"

#include <math.h>

static void round_trip(void **state) {
    (void)state;
    char *folder = run_folder(), note[CHECKPOINT_NOTE], path[FILE_PATH];
    CheckpointSaved saved;
    Checkpoint *c;
    Run r;
    Error e = {0};
    uint64_t live = mem_stat().live;
    CheckpointStore *s = run_open(folder, false, 0);
    run_init(&r, 10);
    r.state.best = (double)NAN;
    static const double odd[] = {-0.0, 5e-324, 1.7976931348623157e308, -1.0 / 3, 9007199254740993.0, 1e23};
    for (int i = 0; i < COUNT(odd); i++) {
        CheckpointScalar *x = &r.state.scalar[r.state.scalar_count++];
        snprintf(x->name, sizeof x->name, "odd.%d", i);
        x->value = odd[i];
    }
    CheckpointContents contents = run_contents(&r, true);
    assert_true(checkpoint_store_save(s, &contents, &saved, &e));
    assert_string_equal(saved.path, run_path(folder, "checkpoints/10"));
    checkpoint_store_close(s);

    assert_true(checkpoint_open(&c, folder, note, &e));
    assert_string_equal(note, "");
    assert_string_equal(checkpoint_path(c), saved.path);
    const CheckpointState *got = checkpoint_state(c);
    assert_int_equal(got->step, 10);
    assert_int_equal(got->epoch, 1);
    assert_int_equal(got->seed, 17);
    assert_string_equal(got->version, LETHE_VERSION);
    assert_string_equal(got->best_name, "loss");
    assert_true(isnan(got->best));
    assert_int_equal(got->best_step, -1);
    assert_true(*checkpoint_scalar(got, "lr") == 0.1 + 0.2);
    assert_true(*checkpoint_scalar(got, "adam.steps") == 123456789);
    assert_null(checkpoint_scalar(got, "none"));
    for (int i = 0; i < COUNT(odd); i++)
        assert_memory_equal(&got->scalar[2 + i].value, &odd[i], sizeof odd[i]);
    assert_string_equal(checkpoint_recipe(c), run_recipe);
    assert_true(checkpoint_manifest(c, path, &e));
    checkpoint_close(c);

    /* the manifest: a line a sample, one file under two names */
    char *text, line[CHECKPOINT_LINE];
    size_t size, at = 0;
    assert_true(file_read(path, 1 << 20, &text, &size, &e));
    for (int64_t i = 0; i < RUN_SAMPLES; i++) {
        assert_true(run_describe(NULL, i, line, sizeof line, &e));
        assert_memory_equal(text + at, line, strlen(line));
        at += strlen(line) + 1;
        assert_int_equal(text[at - 1], '\n');
    }
    assert_int_equal(at, size);
    mem_free(text);
    struct stat one, two;
    assert_int_equal(stat(path, &one), 0);
    assert_int_equal(stat(run_path(folder, "manifest.jsonl"), &two), 0);
    assert_true(one.st_ino == two.st_ino);

    /* every way to name it */
    static const char *const way[] = {"", "checkpoints", "checkpoints/10", "checkpoints/last",
                                      "checkpoints/best"};
    for (int i = 0; i < COUNT(way); i++) assert_int_equal(run_load(run_path(folder, way[i]), note, &e), 10);
    assert_true(checkpoint_open(&c, run_path(folder, "checkpoints/10/model.safetensors"), note, &e));
    assert_null(checkpoint_state(c));
    assert_null(checkpoint_file(c, CHECKPOINT_OPTIMIZER));
    assert_false(checkpoint_manifest(c, path, &e));
    CheckpointWant want = {CHECKPOINT_MODEL, {r.model, RUN_MODEL}, true};
    memset(r.weight, 0, sizeof r.weight);
    assert_true(checkpoint_read(c, &want, 1, &e));
    assert_true(run_is(&r, 10));
    want.part = CHECKPOINT_EMA;
    assert_false(checkpoint_read(c, &want, 1, &e));
    assert_non_null(strstr(e.text, "has no ema.safetensors"));
    checkpoint_close(c);
    assert_int_equal(mem_stat().live, live);
    run_clean(folder);
}

/* keep: the newest N, the best, and nothing that a later step has left behind. */
static void keeping(void **state) {
    (void)state;
    char *folder = run_folder(), note[CHECKPOINT_NOTE];
    Error e;
    CheckpointStore *s = run_open(folder, false, 2);
    for (int64_t step = 10; step <= 50; step += 10) run_must_save(s, step, step == 20);
    assert_string_equal(run_steps(folder), "20 40 50");
    run_must_save(s, 60, true);
    assert_string_equal(run_steps(folder), "50 60");
    /* taken up again from 50: what comes after is left until it is reached */
    run_must_save(s, 55, false);
    assert_string_equal(run_steps(folder), "50 55 60");
    assert_int_equal(run_load(folder, note, &e), 55);
    checkpoint_store_close(s);
    s = run_open(folder, true, 1);
    run_must_save(s, 70, false);
    assert_string_equal(run_steps(folder), "60 70");
    run_must_save(s, 80, true);
    assert_string_equal(run_steps(folder), "80");
    checkpoint_store_close(s);
    s = run_open(folder, true, 0);
    for (int64_t step = 90; step <= 120; step += 10) run_must_save(s, step, false);
    assert_string_equal(run_steps(folder), "80 90 100 110 120");
    checkpoint_store_close(s);
    run_clean(folder);
}

static void same_step_again(void **state) {
    (void)state;
    char *folder = run_folder(), note[CHECKPOINT_NOTE];
    CheckpointSaved saved;
    Error e;
    Run r;
    CheckpointStore *s = run_open(folder, false, 3);
    run_must_save(s, 10, false);
    run_must_save(s, 20, false);
    run_init(&r, 20);
    r.weight[0] = -1;
    CheckpointContents c = run_contents(&r, false);
    assert_true(checkpoint_store_save(s, &c, &saved, &e));
    assert_int_equal(run_load(folder, note, &e), -2); /* the changed weight */
    run_must_save(s, 20, false);
    assert_int_equal(run_load(folder, note, &e), 20);
    assert_string_equal(run_steps(folder), "10 20");
    checkpoint_store_close(s);
    run_clean(folder);
}

/* A second writer, a used folder, left-over folders, other data. */
static void opening(void **state) {
    (void)state;
    char *folder = run_folder(), note[CHECKPOINT_NOTE];
    CheckpointStore *s = run_open(folder, false, 2), *other;
    CheckpointSettings settings = run_settings(folder, true, 2);
    Error e;
    assert_false(checkpoint_store_open(&other, &settings, &e));
    assert_non_null(strstr(e.text, "another process"));
    run_must_save(s, 10, false);
    checkpoint_store_close(s);
    settings.resume = false;
    assert_false(checkpoint_store_open(&other, &settings, &e));
    assert_non_null(strstr(e.text, "has checkpoints already, up to step 10"));

    assert_true(file_make_folder(run_path(folder, "checkpoints/.20.tmp.4711/inner"), &e));
    assert_true(file_make_folder(run_path(folder, "checkpoints/.10.old.1"), &e));
    assert_true(file_make_folder(run_path(folder, "checkpoints/.mine"), &e));
    assert_true(file_make_folder(run_path(folder, "checkpoints/.10.tmp.x"), &e));
    assert_int_equal(symlink("10", run_path(folder, "checkpoints/.last.tmp.5")), 0);
    s = run_open(folder, true, 2);
    assert_int_equal(file_kind_link(run_path(folder, "checkpoints/.20.tmp.4711")), FILE_NONE);
    assert_int_equal(file_kind_link(run_path(folder, "checkpoints/.10.old.1")), FILE_NONE);
    assert_int_equal(file_kind_link(run_path(folder, "checkpoints/.last.tmp.5")), FILE_NONE);
    assert_int_equal(file_kind_link(run_path(folder, "checkpoints/.mine")), FILE_FOLDER);
    assert_int_equal(file_kind_link(run_path(folder, "checkpoints/.10.tmp.x")), FILE_FOLDER);
    assert_int_equal(run_load(folder, note, &e), 10);
    checkpoint_store_close(s);

    settings = run_settings(folder, true, 2);
    settings.samples--;
    assert_false(checkpoint_store_open(&s, &settings, &e));
    assert_non_null(strstr(e.text, "lists 200 samples, the data set has 199"));
    settings.samples++;
    settings.self = "other";
    assert_false(checkpoint_store_open(&s, &settings, &e));
    assert_non_null(strstr(e.text, "manifest.jsonl: line 1 is not what the data set says now"));
    assert_int_equal(unlink(run_path(folder, "manifest.jsonl")), 0);
    assert_true(checkpoint_store_open(&s, &settings, &e));
    run_must_save(s, 20, false);
    checkpoint_store_close(s);
    assert_int_equal(run_load(folder, note, &e), 20);
    assert_string_equal(note, "");
    run_clean(folder);
}

static void places(void **state) {
    (void)state;
    char *folder = run_folder(), note[CHECKPOINT_NOTE];
    Checkpoint *c;
    Error e;
    assert_false(checkpoint_open(&c, run_path(folder, "none"), note, &e));
    assert_non_null(strstr(e.text, "none: cannot open it"));
    assert_false(checkpoint_open(&c, folder, note, &e));
    assert_non_null(strstr(e.text, "holds no checkpoint"));
    assert_true(file_make_folder(run_path(folder, "checkpoints"), &e));
    assert_false(checkpoint_open(&c, folder, note, &e));
    assert_non_null(strstr(e.text, "holds no checkpoint"));
    assert_true(file_write(run_path(folder, "x.safetensors"), "12345678", 8, &e));
    assert_false(checkpoint_open(&c, run_path(folder, "x.safetensors"), note, &e));
    assert_true(file_make_folder(run_path(folder, "m"), &e));
    assert_true(file_write(run_path(folder, "m/model.safetensors"), "", 0, &e));
    assert_false(checkpoint_open(&c, run_path(folder, "m"), note, &e));
    assert_non_null(strstr(e.text, "has no files.json"));
    run_clean(folder);
}

/* ------------------------------------------------------------------------------------------- damaged --- */

static const char *const files[] = {"model.safetensors", "optimizer.safetensors", "ema.safetensors",
                                    "state.json",        "recipe.json",           "files.json"};

/* A run with steps 10 and 20; its folder. */
static char *two_steps(void) {
    char *folder = run_folder();
    CheckpointStore *s = run_open(folder, false, 0);
    run_must_save(s, 10, false);
    run_must_save(s, 20, false);
    checkpoint_store_close(s);
    return folder;
}

static const char *file_in(const char *folder, int step, const char *file) {
    char name[100];
    snprintf(name, sizeof name, "checkpoints/%d/%s", step, file);
    return run_path(folder, name);
}

static void damaged_files(void **state) {
    (void)state;
    for (int how = 0; how < 3; how++)
        for (int i = 0; i < COUNT(files); i++) {
            char *folder = two_steps(), note[CHECKPOINT_NOTE];
            const char *path = file_in(folder, 20, files[i]);
            Error e = {0};
            if (how == 0) run_flip(path, 8 * (run_size(path) / 2));
            if (how == 1) assert_int_equal(truncate(path, (off_t)run_size(path) / 2), 0);
            if (how == 2) assert_int_equal(unlink(path), 0);
            assert_int_equal(run_load(folder, note, &e), 10);
            if (!strstr(note, "using step 10 instead")) fail_msg("%s", note);
            if (!strstr(note, files[i]) && !(how == 0 && i == 5))
                fail_msg("%s", note); /* a flip in the list blames another */
            /* named itself, it is an error, not another checkpoint */
            assert_int_equal(run_load(run_path(folder, "checkpoints/20"), note, &e), -1);
            assert_non_null(strstr(e.text, "checkpoints/20"));
            /* the first one too: nothing is left, and the line says so */
            run_flip(file_in(folder, 10, "model.safetensors"), 800);
            assert_int_equal(run_load(folder, note, &e), -1);
            assert_non_null(strstr(e.text, "none of the 2 checkpoints is whole"));
            run_clean(folder);
        }
}

/* The manifest is no reason to refuse weights; who asks for it is told. */
static void damaged_manifest(void **state) {
    (void)state;
    char *folder = two_steps(), note[CHECKPOINT_NOTE], path[FILE_PATH];
    Checkpoint *c;
    Error e;
    run_flip(run_path(folder, "manifest.jsonl"), 77);
    assert_int_equal(run_load(folder, note, &e), 20);
    assert_non_null(strstr(note, "manifest.jsonl: its SHA-256 is"));
    assert_true(checkpoint_open(&c, folder, note, &e));
    assert_false(checkpoint_manifest(c, path, &e));
    assert_non_null(strstr(e.text, "manifest.jsonl"));
    checkpoint_close(c);
    run_clean(folder);
}

static void damaged_links(void **state) {
    (void)state;
    char *folder = two_steps(), note[CHECKPOINT_NOTE];
    Error e;
    assert_true(file_remove_tree(run_path(folder, "checkpoints/20"), &e));
    assert_int_equal(run_load(folder, note, &e), 10); /* last points at nothing */
    assert_non_null(strstr(note, "using step 10 instead"));
    assert_int_equal(unlink(run_path(folder, "checkpoints/last")), 0);
    assert_int_equal(run_load(folder, note, &e), 10);
    assert_int_equal(symlink("../../../etc", run_path(folder, "checkpoints/last")), 0);
    assert_int_equal(run_load(folder, note, &e), 10);
    run_clean(folder);
}

/* Hostile lists of files. */
static void hostile_lists(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } row[] = {
        {"", "files.json"},
        {"[]", "files.json"},
        {"{}", "format"},
        {"{\"format\": 2, \"files\": {}}", "format"},
        {"{\"format\": 1}", "files"},
        {"{\"format\": 1, \"files\": []}", "files"},
        {"{\"format\": 1, \"files\": {}}", "model.safetensors is not listed"},
        {"{\"format\": 1, \"files\": {\"../x\": {\"size\": 1, \"sha256\": \"\"}}}", "no plain file name"},
        {"{\"format\": 1, \"files\": {\"/etc/passwd\": {\"size\": 1, \"sha256\": \"\"}}}",
         "no plain file name"},
        {"{\"format\": 1, \"files\": {\"..\": {\"size\": 1, \"sha256\": \"\"}}}", "no plain file name"},
        {"{\"format\": 1, \"files\": {\"a\": {\"size\": -1, \"sha256\": \"\"}}}", "size"},
        {"{\"format\": 1, \"files\": {\"a\": {\"size\": 1, \"sha256\": \"abc\"}}}",
         "64 lower-case hex digits"},
        {"{\"format\": 1, \"files\": {\"a\": {\"size\": 1}}}", "sha256"},
    };
    char *folder = two_steps(), note[CHECKPOINT_NOTE];
    for (int i = 0; i < COUNT(row); i++) {
        Error e = {0};
        assert_true(file_write(file_in(folder, 20, "files.json"), row[i].text, strlen(row[i].text), &e));
        assert_int_equal(run_load(run_path(folder, "checkpoints/20"), note, &e), -1);
        if (!strstr(e.text, row[i].says)) fail_msg("%s: %s", row[i].text, e.text);
        assert_int_equal(run_load(folder, note, &e), 10);
    }
    run_clean(folder);
}

/* Any bit of any file: found, or (in the blanks of files.json) without effect. Never wrong weights. */
static void flipped_bits(void **state) {
    (void)state;
    char *folder = two_steps(), note[CHECKPOINT_NOTE];
    Rng r = rng_open(5, RNG_TEST, 0, 0);
    int found = 0;
    for (int k = 0; k < 400; k++) {
        Error e;
        const char *path = file_in(folder, 20, files[k % COUNT(files)]);
        size_t bit = (size_t)rng_below(&r, 8 * run_size(path));
        run_flip(path, bit);
        int64_t step = run_load(folder, note, &e);
        assert_true(step == 10 || step == 20);
        if (step == 20) assert_string_equal(files[k % COUNT(files)], "files.json");
        found += step == 10;
        run_flip(path, bit);
    }
    assert_true(found > 330);
    Error e;
    assert_int_equal(run_load(folder, note, &e), 20);
    run_clean(folder);
}

/* --------------------------------------------------------------------------------------------- keys --- */

static void keys(void **state) {
    (void)state;
    char *folder = two_steps(), note[CHECKPOINT_NOTE];
    float extra[2] = {5, 5};
    Tensor t_extra = {extra, {2}, 1, .dtype = DT_F32};
    Checkpoint *c;
    KeyReport report;
    Run r;
    Error e;
    run_init(&r, 999);
    NamedTensor list[] = {r.model[0], r.model[1], {"fc_norm.weight", &t_extra}};
    NamedTensors into = {list, COUNT(list)};
    assert_true(checkpoint_open(&c, folder, note, &e));
    assert_true(checkpoint_keys(c, CHECKPOINT_MODEL, into, &report, &e));
    assert_int_equal(report.missing_count, 1);
    assert_string_equal(report.missing[0], "fc_norm.weight");
    assert_int_equal(report.unexpected_count, 1);
    assert_string_equal(report.unexpected[0], "half");
    key_report_close(&report);

    /* strict: refused, and nothing was changed; neither by the parts that did fit */
    CheckpointWant want[] = {{CHECKPOINT_OPTIMIZER, {r.optim, RUN_OPTIM}, true},
                             {CHECKPOINT_MODEL, into, true}};
    assert_false(checkpoint_read(c, want, 2, &e));
    assert_non_null(strstr(e.text, "missing key(s): \"fc_norm.weight\"; unexpected key(s): \"half\""));
    assert_true(run_is(&r, 999));
    /* not strict: names may miss, shapes may not */
    want[1].strict = false;
    r.t_bias.dim[0] = 5;
    assert_false(checkpoint_read(c, want, 2, &e));
    assert_non_null(strstr(e.text, "tensor \"head.bias\" is F32[6] in the file, f32[5] in the model"));
    assert_true(run_is(&r, 999));
    r.t_bias.dim[0] = 6;
    assert_true(checkpoint_read(c, want, 2, &e));
    assert_true(extra[0] == 5 && r.weight[3] == run_value(20, 3) && r.m[3] == run_value(20, 103));
    checkpoint_close(c);
    run_clean(folder);
}

static char *described(const char *path, bool whole) {
    char *text = NULL;
    size_t size = 0;
    Error e = {0};
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(checkpoint_describe(path, out, &e), whole);
    fclose(out);
    return text;
}

static void describing(void **state) {
    (void)state;
    char *folder = two_steps();
    static const char *const says[] = {"checkpoints 20 10; last 20\n",
                                       "step        20 (epoch 2, seed 17)",
                                       "adam.steps 1.23457e+08, lr 0.3",
                                       "model.safetensors: 3 tensors, 43 parameters",
                                       "head.weight",
                                       "F32[6, 5]",
                                       "BF16[7]",
                                       "optimizer.safetensors: 2 tensors, 60 values",
                                       "\"task\": \"mae\"",
                                       "manifest.jsonl"};
    char *text = described(folder, true);
    for (int i = 0; i < COUNT(says); i++)
        if (!strstr(text, says[i])) fail_msg("no %s in\n%s", says[i], text);
    assert_null(strstr(text, "DAMAGED"));
    free(text);
    text = described(run_path(folder, "checkpoints/10/model.safetensors"), true);
    assert_non_null(strstr(text, "3 tensors, 43 parameters"));
    assert_non_null(strstr(text, "metadata \"format\" = \"pt\""));
    free(text);
    run_flip(file_in(folder, 20, "ema.safetensors"),
             8 * run_size(file_in(folder, 20, "ema.safetensors")) - 1);
    text = described(folder, false);
    assert_non_null(strstr(text, "DAMAGED"));
    assert_non_null(strstr(text, "\"task\": \"mae\"")); /* and the rest was still shown */
    free(text);
    run_clean(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(keeping),
        cmocka_unit_test(same_step_again),
        cmocka_unit_test(opening),
        cmocka_unit_test(places),
        cmocka_unit_test(damaged_files),
        cmocka_unit_test(damaged_manifest),
        cmocka_unit_test(damaged_links),
        cmocka_unit_test(hostile_lists),
        cmocka_unit_test(flipped_bits),
        cmocka_unit_test(keys),
        cmocka_unit_test(describing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
