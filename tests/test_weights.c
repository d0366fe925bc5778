/* Weights from outside: what torch.save wrote is read as PyTorch reads it, and every hostile zip file and
 * pickle is refused with one line that says where. Fixtures: tests/golden/make_torch.py. */
#define _GNU_SOURCE
#include "core/file.h"
#include "core/weights.h"
#include "mim/recognise.h"
#include "segment/recognise.h"

#include "tests/torch_zip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define GOLDEN(name) "tests/golden/torch/" name ".pth"

static Weights *open_golden(const char *path) {
    Weights *w;
    Error e;
    if (!weights_open(&w, path, &e)) fail_msg("%s", e.text);
    return w;
}

/* Element i of every float tensor is i, in C order, unless it is a scalar. */
static void check_counting(const Weights *w, const char *name) {
    const SafeEntry *x = weights_find(w, name);
    Error e;
    real value[256];
    if (!x) fail_msg("no %s", name);
    int64_t n = safe_entry_count(x);
    assert_true(n <= COUNT(value));
    if (!weights_read_real(w, x, value, n, &e)) fail_msg("%s", e.text);
    for (int64_t i = 0; i < n; i++)
        if (value[i] != (real)i) fail_msg("%s[%" PRId64 "] is %g", name, i, (double)value[i]);
}

static void check_views(const Weights *w) {
    static const char *const name[] = {"transposed", "offset",    "window", "channels",
                                       "empty",      "parameter", "one.row"};
    real scalar;
    Error e;
    for (int i = 0; i < COUNT(name); i++) check_counting(w, name[i]);
    assert_true(weights_read_real(w, weights_find(w, "scalar"), &scalar, 1, &e));
    assert_true(scalar == 3.5f);
}

/* ------------------------------------------------------------------------------------------- fixtures --- */

static void views(void **state) {
    (void)state;
    Weights *w = open_golden(GOLDEN("views"));
    real counter;
    Error e;
    assert_string_equal(weights_format(w), "PyTorch zip");
    assert_int_equal(weights_count(w), 9);
    assert_int_equal(weights_ignored(w), 0);
    assert_string_equal(weights_at(w, 0)->name, "transposed");
    check_views(w);
    assert_true(weights_read_real(w, weights_find(w, "counter"), &counter, 1, &e));
    assert_true(counter == 7);
    const SafeEntry *x = weights_find(w, "channels");
    static const int64_t dim[4] = {2, 3, 4, 5};
    assert_int_equal(x->ndim, 4);
    assert_memory_equal(x->dim, dim, sizeof dim);
    weights_close(w);
}

/* The dict of tensors lies under "model", below an optimizer's and others, and each name begins with
 * "module.". */
static void nested(void **state) {
    (void)state;
    static const char *const path[] = {GOLDEN("nested2"), GOLDEN("nested4"), GOLDEN("nested5")};
    for (int i = 0; i < COUNT(path); i++) {
        Weights *w = open_golden(path[i]);
        assert_int_equal(weights_count(w), 9);
        assert_int_equal(weights_ignored(w), 3);
        check_views(w);
        weights_close(w);
    }
}

static void big_endian(void **state) {
    (void)state;
    Weights *a = open_golden(GOLDEN("little")), *b = open_golden(GOLDEN("big"));
    assert_int_equal(weights_count(a), 8);
    assert_int_equal(weights_count(b), 8);
    check_views(a);
    check_views(b);
    weights_close(a);
    weights_close(b);
}

/* One state dict as it stands, wrapped twice and without checksums, and in the format before 1.6. */
static void state_dicts(void **state) {
    (void)state;
    static const char *const path[] = {GOLDEN("nocrc"), GOLDEN("legacy")};
    for (int i = 0; i < COUNT(path); i++) {
        Weights *a = open_golden(GOLDEN("linear")), *b = open_golden(path[i]);
        float x[6], y[6];
        Error e;
        assert_int_equal(weights_count(a), 7);
        assert_int_equal(weights_count(b), 7);
        for (int64_t k = 0; k < 7; k++) {
            const SafeEntry *of = weights_at(a, k), *same = weights_find(b, of->name);
            assert_non_null(same);
            assert_true(of->size == same->size && of->size <= sizeof x);
            assert_true(weights_read_raw(a, of, x, (size_t)of->size, &e));
            assert_true(weights_read_raw(b, same, y, (size_t)of->size, &e));
            assert_memory_equal(x, y, of->size);
        }
        weights_close(a);
        weights_close(b);
    }
}

static void dtypes(void **state) {
    (void)state;
    static const struct {
        const char *name;
        SafeType type;
        int whole; /* bytes of a whole number; 0: a float */
    } row[] = {{"float64", SAFE_F64, 0},   {"float32", SAFE_F32, 0}, {"float16", SAFE_F16, 0},
               {"bfloat16", SAFE_BF16, 0}, {"uint8", SAFE_U8, 1},    {"int8", SAFE_I8, 1},
               {"int16", SAFE_I16, 2},     {"int32", SAFE_I32, 4},   {"int64", SAFE_I64, 8},
               {"uint16", SAFE_U16, 2},    {"uint32", SAFE_U32, 4},  {"uint64", SAFE_U64, 8}};
    Weights *w = open_golden(GOLDEN("types"));
    uint8_t raw[64];
    Error e;
    for (int i = 0; i < COUNT(row); i++) {
        const SafeEntry *x = weights_find(w, row[i].name);
        assert_non_null(x);
        assert_int_equal(x->type, row[i].type);
        if (!row[i].whole) check_counting(w, row[i].name);
        if (row[i].whole) assert_true(weights_read_raw(w, x, raw, (size_t)x->size, &e));
        for (int64_t k = 0; row[i].whole && k < 6; k++) {
            int64_t value = 0;
            memcpy(&value, raw + k * row[i].whole, (size_t)row[i].whole);
            assert_int_equal(value, k);
        }
    }
    static const uint8_t odd[6] = {0, 1, 0, 1, 0, 1};
    static const float complex64[12] = {0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0};
    assert_true(weights_read_raw(w, weights_find(w, "bool"), raw, 6, &e));
    assert_memory_equal(raw, odd, 6);
    assert_true(weights_read_raw(w, weights_find(w, "complex64"), raw, sizeof complex64, &e));
    assert_memory_equal(raw, complex64, sizeof complex64);
    assert_int_equal(weights_find(w, "float8_e4m3fn")->type, SAFE_F8_E4M3);
    weights_close(w);
}

/* Whole tensors with their checks: the shape must be the file's. */
static void into_tensors(void **state) {
    (void)state;
    Weights *w = open_golden(GOLDEN("views"));
    real value[6];
    Error e;
    Tensor t = {.dtype = DT_F32, .ndim = 2, .dim = {2, 3}, .data = value}, turned = t;
    turned.dim[0] = 3, turned.dim[1] = 2;
    const SafeEntry *x = weights_find(w, "window");
    assert_true(weights_fits(w, x, &t, &e) && weights_read(w, x, &t, &e));
    for (int i = 0; i < 6; i++) assert_true(value[i] == (real)i);
    assert_false(weights_read(w, x, &turned, &e));
    assert_non_null(strstr(e.text, "tensor \"window\" is F32[2, 3]; "));
    weights_close(w);
}

static void other_formats(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *says;
    } row[] = {
        {"\x1f\x8b\x08\0\0\0\0\0\0", 9, "gzip"},
        {"\x80\x04\x95\0\0\0\0\0\0", 9, "is a pickle"},
        {"version https://git-lfs.github.com/spec/v1\n", 43, "git lfs pull"},
        {"<!DOCTYPE html>", 15, "web page"},
        {"\x89HDF\r\n\x1a\n\0", 9, "HDF5"},
        {"", 0, "too few"},
        {"PK\3\4\0\0\0\0\0\0", 10, "too few for a zip file"},
        {"nonsense of some length", 23, "safetensors"},
    };
    Weights *w;
    Error e;
    for (int i = 0; i < COUNT(row); i++) {
        assert_false(weights_open_bytes(&w, "x", row[i].bytes, row[i].size, &e));
        if (!strstr(e.text, row[i].says)) fail_msg("%s", e.text);
        assert_null(strchr(e.text, '\n'));
    }
    assert_false(weights_open(&w, GOLDEN("script"), &e));
    assert_non_null(strstr(e.text, "TorchScript"));
    assert_false(weights_open(&w, "tests/golden", &e));
    assert_false(weights_open(&w, "tests/nowhere.pth", &e));
    assert_true(weights_begin(GOLDEN("views")) && weights_begin(GOLDEN("legacy")));
    assert_false(weights_begin("Makefile") || weights_begin("tests") || weights_begin("tests/nowhere.pth"));
}

/* --------------------------------------------------------------------------------------------- zips --- */

static const uint8_t dict[] = {0x80, 2, '}', '.'}, four[4] = {1, 2, 3, 4};

static ZipOut small_zip(uint8_t *room, size_t size) {
    ZipOut z = {.bytes = room, .room = size};
    zip_add(&z, "a/data.pkl", dict, sizeof dict);
    zip_add(&z, "a/data/0", four, sizeof four);
    zip_end(&z);
    return z;
}

static void refused(const void *bytes, size_t size, const char *says) {
    Weights *w;
    Error e;
    if (weights_open_bytes(&w, "x.pth", bytes, size, &e)) fail_msg("taken, instead of: %s", says);
    if (!strstr(e.text, says) || strncmp(e.text, "x.pth: ", 7) != 0 || strchr(e.text, '\n'))
        fail_msg("\"%s\" does not say \"%s\"", e.text, says);
}

/* Each number in a small file that can lie. */
static void hostile_zips(void **state) {
    (void)state;
    enum { DATA_PKL, STORAGE, END };
    static const struct {
        int of, at; /* the central header of an entry, or the end record; LOCAL: its local header */
        size_t bytes;
        uint64_t value;
        const char *says;
    } row[] = {
        {END, 0, 4, 0, "does not end with its end record"},
        {END, 20, 2, 1, "does not end with its end record"},
        {END, 4, 2, 1, "several disks"},
        {END, 8, 2, 3, "several disks"},
        {END, 8, 4, 0x00030003, "claims 3 entries, but has only"},
        {END, 8, 4, 0x00010001, "bytes too many"},
        {END, 8, 4, 0, "an empty zip file"},
        {END, 8, 4, 0xFFFFFFFF, "claims 65535 entries, but has only"},
        {END, 12, 4, 0xFFFFFFF0, "above the limits"},
        {END, 12, 4, 7, "the end records begin at"},
        {END, 16, 4, 3, "the end records begin at"},
        {STORAGE, 0, 4, 7, "a header was expected"},
        {STORAGE, 8, 2, 1, "\"a/data/0\" is encrypted"},
        {STORAGE, 10, 2, 8, "\"a/data/0\" is compressed"},
        {STORAGE, 20, 4, 3, "stored, but as 3 bytes of 4"},
        {STORAGE, 20, 8, 0x0000000500000005, "another size in its local header"},
        {STORAGE, 28, 2, 0, "has no name, or a NUL"},
        {STORAGE, 28, 2, 0xFFFF, "a header is cut short"},
        {STORAGE, 30, 2, 60000, "a header is cut short"},
        {STORAGE, 34, 2, 1, "another disk"},
        {STORAGE, 42, 4, 0x7FFFFFFF, "overlaps what follows"},
        {STORAGE, 42, 4, 1, "overlaps what follows"},
        {STORAGE, 42, 4, 45, "has another local header"},
        {STORAGE, 42, 4, 0, "overlaps what follows"},
        {STORAGE, 46, 1, 'b', "another name in its local header"},
        {DATA_PKL, 16, 4, 5, "\"a/data.pkl\" is damaged: its checksum"},
    };
    uint8_t room[1024];
    for (int i = 0; i < COUNT(row); i++) {
        ZipOut z = small_zip(room, sizeof room);
        size_t at = row[i].of == END ? z.end : z.row[row[i].of].central;
        memcpy(z.bytes + at + row[i].at, &row[i].value, row[i].bytes);
        refused(z.bytes, z.size, row[i].says);
    }
}

static void hostile_archives(void **state) {
    (void)state;
    static const struct {
        const char *name[3];
        const char *text[3]; /* NULL: an empty dict's pickle */
        const char *says;
    } row[] = {
        {{"a/data.pkl", "a/data/0", "a/data/0"},
         {NULL, "x", "x"},
         "\"a/data/0\" stands in the directory twice"},
        {{"a/data.pkl", "b/data.pkl"}, {NULL, NULL}, "two data.pkl"},
        {{"a/b/data.pkl"}, {NULL}, "without a data.pkl"},
        {{"data.pkl"}, {NULL}, "without a data.pkl"},
        {{"a/data.pkl", "a/byteorder"}, {NULL, "middle"}, "neither little nor big"},
        {{"a/data.pkl", "a/byteorder"}, {NULL, "much longer than any"}, "byteorder has 20 bytes"},
        {{"a/data.pkl", "a/version"}, {NULL, "11\n"}, "version"},
        {{"a/data.pkl", "a/version"}, {NULL, "x\n"}, "version"},
        {{"a/data.pkl", "a/version"}, {NULL, "3\n"}, "holds no dict of tensors"},
        {{"a/data.pkl"}, {""}, "byte 0 of a/data.pkl"},
    };
    uint8_t room[1024];
    for (int i = 0; i < COUNT(row); i++) {
        ZipOut z = {.bytes = room, .room = sizeof room};
        for (int k = 0; k < 3 && row[i].name[k]; k++) {
            const char *text = row[i].text[k];
            zip_add(&z, row[i].name[k], text ? (const void *)text : dict, text ? strlen(text) : sizeof dict);
        }
        zip_end(&z);
        refused(z.bytes, z.size, row[i].says);
    }
}

/* A file cut anywhere, and one with any byte changed: refused or read, never a crash. */
static void damage_anywhere(const char *path) {
    char *text;
    size_t size;
    Weights *w;
    Error e;
    assert_true(file_read(path, 1 << 20, &text, &size, &e));
    for (size_t cut = 0; cut < size; cut++) assert_false(weights_open_bytes(&w, "x", text, cut, &e));
    int opened = 0;
    for (size_t at = 0; at < size; at++) {
        text[at] ^= 0x41;
        if (weights_open_bytes(&w, "x", text, size, &e)) {
            real value[256];
            opened++;
            for (int64_t i = 0; i < weights_count(w); i++)
                weights_read_real(w, weights_at(w, i), value, safe_entry_count(weights_at(w, i)), &e);
        }
        weights_close(w);
        text[at] ^= 0x41;
    }
    assert_true(opened > 50 && opened < (int)size);
    mem_free(text);
}

static void damaged_anywhere(void **state) {
    (void)state;
    damage_anywhere(GOLDEN("views"));
    damage_anywhere(GOLDEN("legacy"));
}

/* The checksum of a storage is compared when a tensor of it is read. */
static void damaged_storage(void **state) {
    (void)state;
    Weights *w = open_golden(GOLDEN("linear"));
    const SafeEntry *x = weights_find(w, "0.weight");
    size_t at = (size_t)x->begin, size;
    char *text;
    float value[6];
    Error e;
    weights_close(w);
    assert_true(file_read(GOLDEN("linear"), 1 << 20, &text, &size, &e));
    text[at] ^= 1;
    assert_true(weights_open_bytes(&w, "x", text, size, &e));
    assert_false(weights_read_raw(w, weights_find(w, "0.weight"), value, sizeof value, &e));
    assert_non_null(strstr(e.text, "/data/0\" is damaged: its checksum is"));
    assert_true(weights_read_raw(w, weights_find(w, "0.bias"), value, 8, &e));
    weights_close(w);
    mem_free(text);
}

/* ------------------------------------------------------------------------------------------- pickles --- */

typedef struct Text {
    uint8_t bytes[4096];
    size_t size;
} Text;

static void put(Text *t, const void *bytes, size_t size) {
    assert_true(size <= sizeof t->bytes - t->size);
    memcpy(t->bytes + t->size, bytes, size);
    t->size += size;
}

static void put_op(Text *t, int code) {
    uint8_t c = (uint8_t)code;
    put(t, &c, 1);
}

static void put_text(Text *t, const char *text) {
    uint32_t n = (uint32_t)strlen(text);
    put_op(t, 'X');
    put(t, &n, 4);
    put(t, text, n);
}

static void put_int(Text *t, int64_t n) {
    put(t, "\x8A\x08", 2);
    put(t, &n, 8);
}

static void put_global(Text *t, const char *module, const char *name) {
    put_op(t, 'c');
    put(t, module, strlen(module));
    put(t, "\n", 1);
    put(t, name, strlen(name));
    put(t, "\n", 1);
}

/* A view of a storage of floats. */
typedef struct Made {
    const char *key;
    int64_t length, offset;
    int ndim;
    int64_t dim[9], stride[9];
} Made;

static void put_tensor(Text *t, const Made *m) {
    put_global(t, "torch._utils", "_rebuild_tensor_v2");
    put(t, "((", 2);
    put_text(t, "storage");
    put_global(t, "torch", "FloatStorage");
    put_text(t, m->key);
    put_text(t, "cpu");
    put_int(t, m->length);
    put(t, "tQ", 2);
    put_int(t, m->offset);
    put_op(t, '(');
    for (int i = 0; i < m->ndim; i++) put_int(t, m->dim[i]);
    put(t, "t(", 2);
    for (int i = 0; i < m->ndim; i++) put_int(t, m->stride[i]);
    put(t, "t\x89", 2);
    put_global(t, "collections", "OrderedDict");
    put(t, ")RtR", 4);
}

/* A file of this pickle and a storage "0" of six floats, 0 .. 5. */
static ZipOut file_of(const void *pickle, size_t size, uint8_t *room, size_t room_size) {
    static const float six[6] = {0, 1, 2, 3, 4, 5};
    ZipOut z = {.bytes = room, .room = room_size};
    zip_add(&z, "a/data.pkl", pickle, size);
    zip_add(&z, "a/data/0", six, sizeof six);
    zip_end(&z);
    return z;
}

static void refused_pickle(const void *pickle, size_t size, const char *says) {
    uint8_t room[8192];
    ZipOut z = file_of(pickle, size, room, sizeof room);
    refused(z.bytes, z.size, says);
}

static Text dict_of(const char *name, const Made *m) {
    Text t = {.size = 0};
    put(&t, "\x80\x02}", 3);
    put_text(&t, name);
    put_tensor(&t, m);
    put(&t, "s.", 2);
    return t;
}

/* The writer above, where nothing is wrong: the refusals below are then for their own reasons. */
static void made_here(void **state) {
    (void)state;
    static const Made good[] = {{"0", 6, 0, 2, {2, 3}, {3, 1}}, {"0", 6, 0, 2, {3, 2}, {1, 3}},
                                {"0", 6, 1, 1, {3}, {2}},       {"0", 6, 5, 2, {1, 1}, {77, 0}},
                                {"0", 6, 6, 1, {0}, {1}},       {"0", 6, 2, 0, {0}, {0}}};
    static const real due[][6] = {{0, 1, 2, 3, 4, 5}, {0, 3, 1, 4, 2, 5}, {1, 3, 5}, {5}, {0}, {2}};
    uint8_t room[8192];
    for (int i = 0; i < COUNT(good); i++) {
        Text t = dict_of("t", &good[i]);
        ZipOut z = file_of(t.bytes, t.size, room, sizeof room);
        Weights *w;
        Error e;
        real value[6];
        if (!weights_open_bytes(&w, "x", z.bytes, z.size, &e)) fail_msg("%s", e.text);
        const SafeEntry *x = weights_find(w, "t");
        int64_t n = safe_entry_count(x);
        assert_true(weights_read_real(w, x, value, n, &e));
        for (int64_t k = 0; k < n; k++) assert_true(value[k] == due[i][k]);
        weights_close(w);
    }
}

static void hostile_views(void **state) {
    (void)state;
    const int64_t huge = INT64_MAX;
    const struct {
        Made made;
        const char *says;
    } row[] = {
        {{"1", 6, 0, 1, {6}, {1}}, "tensor \"t\" lies in storage 1, which is not in the file"},
        {{"../x", 6, 0, 1, {6}, {1}}, "which is not in the file"},
        {{"0", 7, 0, 1, {6}, {1}}, "storage 0 of 7 elements, but the file has 24 bytes of it"},
        {{"0", 5, 0, 1, {5}, {1}}, "but the file has 24 bytes"},
        {{"0", huge, 0, 1, {6}, {1}}, "but the file has 24 bytes"},
        {{"0", -1, 0, 1, {6}, {1}}, "persistent id that is no storage"},
        {{"0", 6, 1, 1, {6}, {1}}, "is F32[6] from element 1 on: beyond its storage of 24 bytes"},
        {{"0", 6, huge, 1, {6}, {1}}, "beyond its storage"},
        {{"0", 6, -1, 1, {5}, {1}}, "no place in it"},
        {{"0", 6, 0, 1, {7}, {1}}, "beyond its storage"},
        {{"0", 6, 0, 2, {2, 3}, {4, 1}}, "beyond its storage"},
        {{"0", 6, 0, 1, {2}, {huge}}, "beyond its storage"},
        {{"0", 6, 5, 1, {6}, {-1}}, "has a negative stride: -1"},
        {{"0", 6, 0, 1, {-6}, {1}}, "has a negative size: -6"},
        {{"0", 6, 0, 2, {2, 3}, {2, 1}}, "overlap"},
        {{"0", 6, 0, 2, {2, 3}, {0, 1}}, "overlap"},
        {{"0", 6, 0, 2, {3, 3}, {1, 1}}, "overlap"},
        {{"0", 6, 0, 2, {huge, huge}, {1, 1}}, "its size overflows"},
        {{"0", 6, 0, 9, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {0}}, "no tuple of at most 8"},
    };
    for (int i = 0; i < COUNT(row); i++) {
        Text t = dict_of("t", &row[i].made);
        refused_pickle(t.bytes, t.size, row[i].says);
    }
    Text t = dict_of("", &(Made){"0", 6, 0, 1, {6}, {1}});
    refused_pickle(t.bytes, t.size, "name is empty");
    t = dict_of("\xC3", &(Made){"0", 6, 0, 1, {6}, {1}});
    refused_pickle(t.bytes, t.size, "not UTF-8");
}

/* The same name twice, and tensors in a list. */
static void hostile_objects(void **state) {
    (void)state;
    const Made m = {"0", 6, 0, 1, {6}, {1}};
    Text t = {.size = 0};
    put(&t, "\x80\x02}", 3);
    for (int i = 0; i < 2; i++) {
        put_text(&t, "t");
        put_tensor(&t, &m);
        put_op(&t, 's');
    }
    put_op(&t, '.');
    refused_pickle(t.bytes, t.size, "two tensors are called \"t\"");
    t.size = 0;
    put(&t, "\x80\x02]", 3);
    put_tensor(&t, &m);
    put(&t, "a.", 2);
    refused_pickle(t.bytes, t.size, "holds no dict of tensors");
    t.size = 0;
    put(&t, "\x80\x02}K\x07", 5);
    put_tensor(&t, &m);
    put(&t, "s.", 2);
    refused_pickle(t.bytes, t.size, "a tensor whose name is no text");
}

static void hostile_pickles(void **state) {
    (void)state;
#define P(bytes) bytes, sizeof(bytes) - 1
    static const struct {
        const char *bytes;
        size_t size;
        const char *says;
    } row[] = {
        {P("\x80\x02"
           "cos\nsystem\nX\x02\0\0\0lstR."),
         "x.pth: byte 2 of a/data.pkl: global os.system is not allowed"},
        {P("\x80\x04\x8c\x05posix\x8c\x06system\x93."),
         "byte 17 of a/data.pkl: global posix.system is not allowed"},
        {P("\x80\x02"
           "cbuiltins\neval\n."),
         "global builtins.eval is not allowed"},
        {P("\x80\x02"
           "ctorch\nload\n."),
         "global torch.load is not allowed"},
        {P("\x80\x02"
           "ctorch.nn\nLin\x1b[31m\n."),
         "global torch.nn.Lin?[31m is not allowed"},
        {P("\x80\x02(ios\nsystem\n."), "byte 3 of a/data.pkl: opcode INST is not allowed"},
        {P("\x80\x02(o."), "opcode OBJ is not allowed"},
        {P("\x80\x02S'x'\n."), "opcode STRING is not allowed"},
        {P("\x80\x02\x82\x01."), "opcode EXT1 is not allowed"},
        {P("\x80\x02"
           "2."),
         "opcode DUP is not allowed"},
        {P("\x80\x02\xFF."), "0xFF is no opcode"},
        {P("}."), "begins with PROTO"},
        {P("\x80\x06}."), "pickle protocol 6; 2 to 5 are read"},
        {P("\x80\x01}."), "pickle protocol 1"},
        {P("\x80\x02}\x80\x02."), "PROTO stands elsewhere"},
        {P("\x80\x02}"), "ends without STOP"},
        {P("\x80\x02}.x"), "1 bytes follow the end"},
        {P("\x80\x02}}."), "ends with 2 values"},
        {P("\x80\x02."), "ends with 0 values"},
        {P("\x80\x02(."), "ends with 0 values"},
        {P("\x80\x02X\xFF\xFF\xFF\xFFx."), "the pickle ends before this opcode does"},
        {P("\x80\x04\x8D\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFFx."), "the pickle ends before this opcode does"},
        {P("\x80\x04\x95\xFF\0\0\0\0\0\0\0}."), "a frame of 255 bytes"},
        {P("\x80\x02s."), "takes more from the stack than is there"},
        {P("\x80\x02}(s."), "takes more from the stack than is there"},
        {P("\x80\x02R."), "takes more from the stack than is there"},
        {P("\x80\x02q\1."), "takes more from the stack than is there"},
        {P("\x80\x02t."), "a mark is missing"},
        {P("\x80\x02u."), "a mark is missing"},
        {P("\x80\x02(u."), "takes more from the stack than is there"},
        {P("\x80\x02}(K\1u."), "a key without a value"},
        {P("\x80\x02)(K\1K\2u."), "adds items to what holds none"},
        {P("\x80\x02}K\1a."), "adds items to what holds none"},
        {P("\x80\x02h\1."), "memo 1 holds nothing"},
        {P("\x80\x02}r\xFF\xFF\xFF\x7F."), "memo 2147483647 is beyond"},
        {P("\x80\x02K\1)R."), "calls what is no global"},
        {P("\x80\x02"
           "ccollections\nOrderedDict\nK\1R."),
         "calls with what is no tuple"},
        {P("\x80\x02"
           "ctorch\nfloat32\n)R."),
         "torch.float32 is not called"},
        {P("\x80\x02"
           "ctorch\nFloatStorage\n)R."),
         "torch.FloatStorage is not called"},
        {P("\x80\x02"
           "ctorch._utils\n_rebuild_tensor_v2\n)R."),
         "a tensor is made from 0 arguments"},
        {P("\x80\x02"
           "ctorch._utils\n_rebuild_parameter\nK\1\x85R."),
         "a parameter is made from no tensor"},
        {P("\x80\x02K\1Q."), "a persistent id that is no storage"},
        {P("\x80\x02K\1}b."), "sets attributes of what has none"},
        {P("\x80\x04K\1K\2\x93."), "a global whose name is no text"},
        {P("\x80\x02"
           "cabc"),
         "a name that does not end"},
    };
    for (int i = 0; i < COUNT(row); i++) refused_pickle(row[i].bytes, row[i].size, row[i].says);
}

static void deep_nesting(void **state) {
    (void)state;
    Text t = {.size = 0};
    put(&t, "\x80\x02", 2);
    for (int i = 0; i < 300; i++) put_op(&t, '(');
    refused_pickle(t.bytes, t.size, "byte 258 of a/data.pkl: marks nested deeper than 256");
    t.size = 0;
    put(&t, "\x80\x02)", 3);
    for (int i = 0; i < 300; i++) put_op(&t, 0x85);
    refused_pickle(t.bytes, t.size, "containers nested deeper than 100");
    t.size = 0; /* a dict within itself, under a name that is looked into */
    put(&t, "\x80\x02}q\1", 5);
    put_text(&t, "model");
    put(&t, "h\1s.", 4);
    refused_pickle(t.bytes, t.size, "holds no dict of tensors");
}

/* More values than any checkpoint has: refused before memory goes. */
static void many_values(void **state) {
    (void)state;
    size_t size = (5u << 20) + 3;
    char *text = malloc(size);
    uint8_t *room = malloc(size + 1024);
    assert_true(text && room);
    memset(text, 'N', size);
    text[0] = '\x80', text[1] = 2;
    ZipOut z = file_of(text, size, room, size + 1024);
    refused(z.bytes, z.size, "more than 1048576 values, or as many on its stack");
    for (size_t i = 4; i < size; i += 2) text[i] = 'a';
    text[2] = ']';
    z = file_of(text, size, room, size + 1024);
    refused(z.bytes, z.size, "ends without STOP");
    free(text);
    free(room);
}

/* ------------------------------------------------------------------------------------------ other use --- */

static void run_out_of_memory(const char *path) {
    uint64_t live = mem_stat().live;
    bool ok = false;
    for (int k = 0; !ok; k++) {
        Weights *w;
        Error e;
        real value[120];
        mem_fail_after(k);
        ok = weights_open(&w, path, &e);
        for (int64_t i = 0; ok && i < weights_count(w); i++)
            ok = weights_read_real(w, weights_at(w, i), value, safe_entry_count(weights_at(w, i)), &e);
        mem_fail_after(-1);
        if (!ok) assert_int_equal(e.code, ERROR_MEMORY);
        weights_close(w);
        assert_int_equal(mem_stat().live, live);
        assert_true(k < 100);
    }
}

static void out_of_memory(void **state) {
    (void)state;
    run_out_of_memory(GOLDEN("nested4"));
    run_out_of_memory(GOLDEN("legacy"));
}

/* A file of tensors of bytes, all zero, with these names and shapes; path is a template for mkstemp. */
typedef struct Shape {
    const char *name;
    int ndim;
    int64_t dim[4];
} Shape;

static Weights *write_shapes(char *path, const char *prefix, const Shape *shape, int count,
                             const char *blocks, int depth) {
    SafeItem item[64];
    static char name[64][96];
    Weights *w;
    Error e;
    void *zero = calloc(1, 8u << 20);
    int fd = mkstemp(path);
    assert_true(zero && fd >= 0 && count + depth <= 64);
    close(fd);
    for (int i = 0; i < count + depth; i++) {
        if (i < count) snprintf(name[i], sizeof name[i], "%s%s", prefix, shape[i].name);
        if (i >= count)
            snprintf(name[i], sizeof name[i], "%s%s.%d.attn.qkv.weight", prefix, blocks, i - count);
        item[i] = (SafeItem){.name = name[i], .type = SAFE_U8, .data = zero};
        item[i].ndim = i < count ? shape[i].ndim : 0;
        memcpy(item[i].dim, i < count ? shape[i].dim : (int64_t[4]){0}, sizeof shape->dim);
    }
    if (!safe_save(path, item, count + depth, NULL, 0, NULL, &e)) fail_msg("%s", e.text);
    if (!weights_open(&w, path, &e)) fail_msg("%s", e.text);
    unlink(path);
    free(zero);
    return w;
}

static void recognises_sam(void **state) {
    (void)state;
    static const struct {
        int64_t dim;
        int depth;
        bool hq;
        const char *what, *recipe;
    } row[] = {
        {768, 12, false, "SAM ViT-B", "\"size\": \"base\", \"image_size\": 1024, \"hq\": false"},
        {1024, 24, true, "HQ-SAM ViT-L", "\"size\": \"large\", \"image_size\": 1024, \"hq\": true"},
        {1280, 32, false, "SAM ViT-H", "\"size\": \"huge\""},
        {64, 4, false, "SAM micro", "\"size\": \"micro\""},
        {768, 11, false, "SAM, with an image encoder that Lethe does not have", ""},
    };
    for (int i = 0; i < COUNT(row); i++) {
        const Shape shape[] = {{"mask_decoder.iou_token.weight", 2, {1, 256}},
                               {"image_encoder.neck.0.weight", 4, {256, 1, 1, 1}},
                               {"image_encoder.pos_embed", 4, {1, 64, 64, row[i].dim}},
                               {"image_encoder.patch_embed.proj.weight", 4, {row[i].dim, 3, 16, 16}},
                               {"mask_decoder.hf_token.weight", 2, {1, 256}}};
        char path[] = "/tmp/lethe_weights_XXXXXX";
        TaskGuess guess;
        Weights *w =
            write_shapes(path, "module.", shape, row[i].hq ? 5 : 4, "image_encoder.blocks", row[i].depth);
        assert_true(sam_recognise(w, &guess));
        assert_string_equal(guess.what, row[i].what);
        assert_non_null(strstr(guess.recipe, row[i].recipe));
        assert_int_equal(guess.recipe[0] != '\0', row[i].recipe[0] != '\0');
        assert_false(mae_recognise(w, &guess) || classify_recognise(w, &guess));
        weights_close(w);
    }
    const Shape tiny[] = {{"mask_decoder.iou_token.weight", 2, {1, 256}},
                          {"image_encoder.neck.0.weight", 4, {256, 320, 1, 1}},
                          {"image_encoder.layers.0.blocks.0.conv1.c.weight", 4, {256, 64, 1, 1}},
                          {"mask_decoder.hf_token.weight", 2, {1, 256}}};
    for (int hq = 0; hq < 2; hq++) {
        char path[] = "/tmp/lethe_weights_XXXXXX";
        TaskGuess guess;
        Weights *w = write_shapes(path, "", tiny, 3 + hq, "", 0);
        assert_true(sam_recognise(w, &guess));
        assert_string_equal(guess.what, hq ? "Light HQ-SAM (TinyViT)" : "MobileSAM (TinyViT)");
        assert_non_null(strstr(guess.recipe, "\"size\": \"tiny\", \"image_size\": 1024"));
        weights_close(w);
    }
}

/* Whichever tensor a file lacks, it is told what it is; import then lists what is missing. */
static void recognises_sam_in_part(void **state) {
    (void)state;
    const Shape shape[] = {{"mask_decoder.iou_token.weight", 2, {1, 256}},
                           {"image_encoder.neck.0.weight", 4, {256, 1024, 1, 1}},
                           {"image_encoder.pos_embed", 4, {1, 64, 64, 1024}},
                           {"image_encoder.patch_embed.proj.weight", 4, {1024, 3, 16, 16}},
                           {"mask_decoder.hf_token.weight", 2, {1, 256}},
                           {"mask_decoder.hf_mlp.layers.0.weight", 2, {256, 256}},
                           {"image_encoder.blocks.23.attn.qkv.weight", 2, {3072, 1024}}};
    for (int without = 0; without < COUNT(shape) - 1; without++) {
        Shape rest[COUNT(shape)];
        int n = 0;
        for (int i = 0; i < COUNT(shape); i++)
            if (i != without) rest[n++] = shape[i];
        char path[] = "/tmp/lethe_weights_XXXXXX";
        TaskGuess guess;
        Weights *w = write_shapes(path, "", rest, n, "image_encoder.blocks", 22);
        assert_int_equal(weights_blocks(w, "image_encoder.blocks"), 24);
        assert_true(sam_recognise(w, &guess));
        assert_string_equal(guess.what, "HQ-SAM ViT-L");
        weights_close(w);
    }
    const Shape odd[] = {{"mask_decoder.x", 1, {1}},
                         {"image_encoder.blocks.99999999999999999999.x", 1, {1}},
                         {"image_encoder.blocks.-1.x", 1, {1}},
                         {"image_encoder.blocksy.77.x", 1, {1}}};
    char path[] = "/tmp/lethe_weights_XXXXXX";
    TaskGuess guess;
    Weights *w = write_shapes(path, "", odd, COUNT(odd), "", 0);
    assert_int_equal(weights_blocks(w, "image_encoder.blocks"), 9999);
    assert_true(sam_recognise(w, &guess));
    assert_string_equal(guess.what, "SAM, with an image encoder that Lethe does not have");
    weights_close(w);
}

/* Of each kind of ViT: the base of 12 blocks and what tells its kind. */
static void recognises_vits(void **state) {
    (void)state;
    static const struct {
        Shape more[3];
        const char *mae, *classify; /* what each says; NULL: not one of its own */
        const char *recipe;
    } row[] = {
        {{{"head.weight", 2, {1000, 192}}, {"norm.weight", 1, {192}}},
         NULL,
         "timm's or DeiT's ViT-Ti/16 for 1000 classes, from the class token",
         "\"heads\": 3, \"pool\": \"cls\", \"classes\": 1000"},
        {{{"head.weight", 2, {10, 192}}, {"fc_norm.weight", 1, {192}}},
         NULL,
         "MAE's fine-tuned ViT-Ti/16 for 10 classes, from the mean token",
         "\"pool\": \"mean\", \"classes\": 10"},
        {{{"head.1.weight", 2, {10, 192}}, {"head.0.running_mean", 1, {192}}, {"norm.weight", 1, {192}}},
         NULL,
         "linear probe of a ViT-Ti/16 for 10 classes, from the class token",
         "\"train\": \"probe\", \"classes\": 10"},
        {{{"decoder_embed.weight", 2, {512, 192}}, {"norm.weight", 1, {192}}},
         "MAE ViT-Ti/16, with its decoder",
         NULL,
         "\"decoder_dim\": 512, \"decoder_depth\": 0, \"decoder_heads\": 16"},
        {{{"norm.weight", 1, {192}}}, "a ViT-Ti/16 without a head; train --init takes it", NULL, NULL},
        {{{"head.weight", 2, {10, 192}}, {"blocks.0.ls1.gamma", 1, {192}}},
         NULL,
         "a ViT-Ti/16 with \"blocks.0.ls1.gamma\", which Lethe's ViT lacks",
         NULL},
    };
    for (int i = 0; i < COUNT(row); i++) {
        Shape shape[24] = {{"patch_embed.proj.weight", 4, {192, 3, 16, 16}},
                           {"cls_token", 3, {1, 1, 192}},
                           {"pos_embed", 3, {1, 1 + 14 * 14, 192}},
                           {"blocks.0.attn.qkv.weight", 2, {576, 192}}};
        static char name[12][40];
        int n = 4;
        for (int b = 1; b < 12; b++) {
            snprintf(name[b], sizeof name[b], "blocks.%d.attn.qkv.weight", b);
            shape[n++] = (Shape){name[b], 2, {576, 192}};
        }
        for (int k = 0; k < 3 && row[i].more[k].name; k++) shape[n++] = row[i].more[k];
        char path[] = "/tmp/lethe_weights_XXXXXX";
        TaskGuess guess = {.what = ""};
        Weights *w = write_shapes(path, i % 2 ? "module.model." : "", shape, n, "", 0);
        assert_int_equal(mae_recognise(w, &guess), row[i].mae != NULL);
        if (row[i].mae) assert_string_equal(guess.what, row[i].mae);
        if (!row[i].mae) assert_true(classify_recognise(w, &guess));
        if (row[i].classify) assert_string_equal(guess.what, row[i].classify);
        assert_int_equal(guess.recipe[0] != '\0', row[i].recipe != NULL);
        if (row[i].recipe && !strstr(guess.recipe, row[i].recipe)) fail_msg("%s", guess.recipe);
        assert_false(sam_recognise(w, &guess));
        weights_close(w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views),
        cmocka_unit_test(nested),
        cmocka_unit_test(big_endian),
        cmocka_unit_test(state_dicts),
        cmocka_unit_test(dtypes),
        cmocka_unit_test(into_tensors),
        cmocka_unit_test(other_formats),
        cmocka_unit_test(hostile_zips),
        cmocka_unit_test(hostile_archives),
        cmocka_unit_test(damaged_anywhere),
        cmocka_unit_test(damaged_storage),
        cmocka_unit_test(made_here),
        cmocka_unit_test(hostile_views),
        cmocka_unit_test(hostile_objects),
        cmocka_unit_test(hostile_pickles),
        cmocka_unit_test(deep_nesting),
        cmocka_unit_test(many_values),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test(recognises_sam),
        cmocka_unit_test(recognises_sam_in_part),
        cmocka_unit_test(recognises_vits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
