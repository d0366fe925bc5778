/* TensorBoard event files, read back by a reader that shares no code with the writer. */
#include "core/events.h"

#include "core/file.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <signal.h>

#include <cmocka.h>

/* What the reader finds in one record. */
typedef struct Seen {
    double wall;
    int64_t step;
    char version[32], tag[300];
    float value;
    int session, height, width, colour;
    const uint8_t *png;
    size_t png_size;
} Seen;

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/lethe_events_XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    Error e;
    return file_remove_tree(folder, &e) ? 0 : -1;
}

static uint64_t read_varint(const uint8_t **p, const uint8_t *end) {
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        assert_true(*p < end);
        uint8_t byte = *(*p)++;
        v |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80)) return v;
    }
    fail_msg("a varint without end");
    return 0;
}

/* One message, whose kind is told by `path`: 'e' event, 's' summary, 'v' value, 'i' image, 'l' session. */
static void read_message(const uint8_t *p, const uint8_t *end, char kind, Seen *seen) {
    while (p < end) {
        uint64_t head = read_varint(&p, end);
        int field = (int)(head >> 3), wire = (int)(head & 7);
        if (wire == 0) {
            uint64_t v = read_varint(&p, end);
            if (kind == 'e' && field == 2) seen->step = (int64_t)v;
            if (kind == 'l' && field == 1) seen->session = (int)v;
            if (kind == 'i' && field == 1) seen->height = (int)v;
            if (kind == 'i' && field == 2) seen->width = (int)v;
            if (kind == 'i' && field == 3) seen->colour = (int)v;
            continue;
        }
        size_t size = wire == 1 ? 8 : wire == 5 ? 4 : 0;
        if (wire == 2) size = read_varint(&p, end);
        assert_true(size <= (size_t)(end - p));
        if (kind == 'e' && field == 1 && wire == 1) memcpy(&seen->wall, p, 8);
        if (kind == 'v' && field == 2 && wire == 5) memcpy(&seen->value, p, 4);
        if (kind == 'e' && field == 3)
            snprintf(seen->version, sizeof seen->version, "%.*s", (int)size, (const char *)p);
        if (kind == 'v' && field == 1)
            snprintf(seen->tag, sizeof seen->tag, "%.*s", (int)size, (const char *)p);
        if (kind == 'i' && field == 4) seen->png = p, seen->png_size = size;
        if (kind == 'e' && field == 5) read_message(p, p + size, 's', seen);
        if (kind == 's' && field == 1) read_message(p, p + size, 'v', seen);
        if (kind == 'v' && field == 4) read_message(p, p + size, 'i', seen);
        if (kind == 'e' && field == 7) read_message(p, p + size, 'l', seen);
        p += size;
    }
}

/* CRC-32C by the table of the reflected polynomial, unlike the writer's bit by bit. */
static uint32_t table_crc(const uint8_t *p, size_t size) {
    uint32_t table[256], crc = 0xFFFFFFFFu;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int k = 0; k < 8; k++) table[i] = table[i] & 1 ? table[i] >> 1 ^ 0x82F63B78u : table[i] >> 1;
    }
    for (size_t i = 0; i < size; i++) crc = table[(crc ^ p[i]) & 0xFF] ^ crc >> 8;
    crc ^= 0xFFFFFFFFu;
    return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
}

/* All records of the only file in the folder. `*text` holds the pictures' bytes; mem_free it. */
static int read_records(Seen *seen, int most, char **text) {
    Error e;
    FileList list;
    char path[FILE_PATH];
    size_t size;
    int n = 0;
    assert_true(file_list_open(&list, folder, &e));
    assert_int_equal(list.count, 1);
    assert_int_equal(strncmp(list.name[0], "events.out.tfevents.", 20), 0);
    assert_true(file_join(path, sizeof path, folder, list.name[0], &e));
    file_list_close(&list);
    assert_true(file_read(path, 1 << 24, text, &size, &e));
    for (const uint8_t *p = (const uint8_t *)*text, *end = p + size; p < end; n++) {
        uint64_t length;
        uint32_t sum;
        assert_true(end - p >= 16);
        memcpy(&length, p, 8);
        memcpy(&sum, p + 8, 4);
        assert_int_equal(sum, table_crc(p, 8));
        assert_true(length <= (uint64_t)(end - p - 16));
        memcpy(&sum, p + 12 + length, 4);
        assert_int_equal(sum, table_crc(p + 12, length));
        assert_true(n < most);
        seen[n] = (Seen){0};
        read_message(p + 12, p + 12 + length, 'e', &seen[n]);
        p += length + 16;
    }
    assert_int_equal(remove(path), 0);
    return n;
}

static void test_crc(void **state) {
    (void)state;
    uint64_t length = 24;
    assert_int_equal(events_crc(0, "123456789", 9), 0xE3069283u);
    assert_int_equal(events_crc(events_crc(0, "1234", 4), "56789", 5), 0xE3069283u);
    assert_int_equal(events_mask(0xE3069283u), 0xC78AB0E5u);
    assert_int_equal(events_mask(events_crc(0, &length, 8)), 0x224B7FA3u);
    assert_int_equal(events_crc(0, "", 0), 0);
}

static void test_scalars(void **state) {
    (void)state;
    Events *v;
    Error e;
    Seen seen[8];
    char *text, tag[400];
    memset(tag, 't', sizeof tag);
    tag[sizeof tag - 1] = 0;
    assert_true(events_open(&v, folder, 0, &e));
    uint64_t calls = mem_stat().calls;
    assert_true(events_scalar(v, 1, "train/loss", 0.5, &e));
    assert_true(events_scalar(v, 1000000007, "train/lr", 1.5e-4, &e));
    assert_true(events_scalar(v, 3, tag, -INFINITY, &e));
    assert_int_equal(mem_stat().calls, calls);
    events_close(v);
    assert_int_equal(read_records(seen, 8, &text), 4);
    assert_string_equal(seen[0].version, "brain.Event:2");
    assert_true(fabs(seen[0].wall - (double)time(NULL)) < 5);
    assert_int_equal(seen[1].step, 1);
    assert_string_equal(seen[1].tag, "train/loss");
    assert_true(seen[1].value == 0.5f);
    assert_int_equal(seen[2].step, 1000000007);
    assert_true(seen[2].value == 1.5e-4f);
    assert_int_equal(strlen(seen[3].tag), 200);
    assert_true(seen[3].value == -INFINITY);
    mem_free(text);
}

static void test_resumed(void **state) {
    (void)state;
    Events *v;
    Error e;
    Seen seen[8];
    char *text;
    assert_true(events_open(&v, folder, 41, &e));
    events_close(v);
    assert_int_equal(read_records(seen, 8, &text), 2);
    assert_int_equal(seen[1].step, 41);
    assert_int_equal(seen[1].session, 1);
    mem_free(text);
}

/* Small ones go through the buffer, large ones past it; both must frame well among scalars. */
static void test_images(void **state) {
    (void)state;
    enum { LARGE = 200000 };
    Events *v;
    Error e;
    Seen seen[8];
    char *text, *large = mem_get(LARGE);
    for (int i = 0; i < LARGE; i++) large[i] = (char)(i * 7);
    assert_true(events_open(&v, folder, 0, &e));
    assert_true(events_image(v, 5, "small", "PNG", 3, 640, 480, &e));
    assert_true(events_scalar(v, 6, "between", 1, &e));
    assert_true(events_image(v, 7, "large", large, LARGE, 2, 1, &e));
    assert_true(events_scalar(v, 8, "after", 2, &e));
    events_close(v);
    assert_int_equal(read_records(seen, 8, &text), 5);
    assert_string_equal(seen[1].tag, "small");
    assert_int_equal(seen[1].width, 640);
    assert_int_equal(seen[1].height, 480);
    assert_int_equal(seen[1].colour, 3);
    assert_int_equal(seen[1].png_size, 3);
    assert_memory_equal(seen[1].png, "PNG", 3);
    assert_string_equal(seen[3].tag, "large");
    assert_int_equal(seen[3].png_size, LARGE);
    assert_memory_equal(seen[3].png, large, LARGE);
    assert_string_equal(seen[4].tag, "after");
    mem_free(text);
    mem_free(large);
}

/* More events than the buffer holds, without a flush in between. */
static void test_many(void **state) {
    (void)state;
    enum { MANY = 5000 };
    Events *v;
    Error e;
    Seen *seen = mem_get(sizeof *seen * (MANY + 1));
    char *text;
    assert_true(events_open(&v, folder, 0, &e));
    for (int i = 0; i < MANY; i++) assert_true(events_scalar(v, i, "x", i, &e));
    events_close(v);
    assert_int_equal(read_records(seen, MANY + 1, &text), MANY + 1);
    for (int i = 0; i < MANY; i++) assert_true(seen[i + 1].step == i && seen[i + 1].value == (float)i);
    mem_free(text);
    mem_free(seen);
}

/* The disk fills in the middle of a record: the file ends at the last whole one, and goes on when there is
 * room. */
static void test_full_disk(void **state) {
    (void)state;
    Events *v;
    Error e;
    Seen seen[8];
    char *text, *large = mem_zero(1 << 16, 1);
    struct rlimit before, small;
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 10000;
    signal(SIGXFSZ, SIG_IGN);
    assert_true(events_open(&v, folder, 0, &e));
    assert_true(events_scalar(v, 1, "before", 1, &e) && events_flush(v, &e));
    setrlimit(RLIMIT_FSIZE, &small);
    bool large_ok = events_image(v, 2, "large", large, 1 << 16, 1, 1, &e);
    bool small_ok = events_image(v, 3, "small", large, 1 << 14, 1, 1, &e);
    bool flush_ok = events_flush(v, &e);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_false(large_ok);
    assert_true(small_ok);
    assert_false(flush_ok);
    assert_non_null(strstr(e.text, "cannot write it: File too large"));
    assert_true(events_scalar(v, 4, "after", 2, &e) && events_sync(v, &e));
    events_close(v);
    assert_int_equal(read_records(seen, 8, &text), 3);
    assert_string_equal(seen[1].tag, "before");
    assert_string_equal(seen[2].tag, "after");
    mem_free(text);
    mem_free(large);
}

static void test_names(void **state) {
    (void)state;
    Events *a, *b;
    Error e;
    FileList list;
    assert_true(events_open(&a, folder, 0, &e));
    assert_true(events_open(&b, folder, 0, &e));
    events_close(a);
    events_close(b);
    assert_true(file_list_open(&list, folder, &e));
    assert_int_equal(list.count, 2);
    file_list_close(&list);
    assert_false(events_open(&a, "/tmp/no/such", 0, &e));
    assert_null(a);
    assert_non_null(strstr(e.text, "cannot make it: No such file or directory"));
    assert_true(file_remove_tree(folder, &e) && file_make_folder(folder, &e));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc),    cmocka_unit_test(test_scalars), cmocka_unit_test(test_resumed),
        cmocka_unit_test(test_images), cmocka_unit_test(test_many),    cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
