/* safetensors: what is written is what the reference library writes, to the byte; what is read back is what
 * was written; and every malformed file of the format's abuse list is refused with a line that says why. */
#define _GNU_SOURCE
#include "core/rng.h"
#include "core/safetensors.h"

#include "tests/faults/faults.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <math.h>

static char folder[] = "/tmp/lethe_safe_XXXXXX";

static const char *at(const char *name) {
    static char path[4][FILE_PATH];
    static int turn;
    Error e;
    char *p = path[turn++ % 4];
    assert_true(file_join(p, FILE_PATH, folder, name, &e));
    return p;
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    Error e;
    return file_remove_tree(folder, &e) ? 0 : -1;
}

/* The number of entries that a folder holds. */
static int64_t entries_of(const char *path) {
    FileList list;
    Error e;
    assert_true(file_list_open(&list, path, &e));
    int64_t n = list.count;
    file_list_close(&list);
    return n;
}

/* ------------------------------------------------------------------------------------------- writing --- */

/* Eleven tensors of eight dtypes: a scalar, an empty one, a name that must be escaped. */
static int sample(SafeItem item[11]) {
    static const float b[] = {0, 1, 2, 3, 4, 5}, a[] = {0.5f, -1, 2}, q[] = {9};
    static const uint16_t h[] = {0x3C00, 0xC000, 0x3400, 0x7BFF}, w[] = {0x3F80, 0xC000, 0x3F00, 0x4040};
    static const int64_t n[] = {7};
    static const int32_t i[] = {1, -1};
    static const uint8_t u[] = {1, 2, 255}, m[] = {1, 0};
    static const double d[] = {0.1};
    const SafeItem row[] = {
        {"b.weight", SAFE_F32, 2, {2, 3}, b},
        {"a.bias", SAFE_F32, 1, {3}, a},
        {"h", SAFE_F16, 2, {2, 2}, h},
        {"w", SAFE_BF16, 1, {4}, w},
        {"n", SAFE_I64, 0, {0}, n},
        {"i", SAFE_I32, 1, {2}, i},
        {"u", SAFE_U8, 1, {3}, u},
        {"m", SAFE_BOOL, 1, {2}, m},
        {"d", SAFE_F64, 1, {1}, d},
        {"e", SAFE_F32, 1, {0}, NULL},
        {"q\"\\\n\t\x01\xC3\xA9", SAFE_F32, 1, {1}, q},
    };
    memcpy(item, row, sizeof row);
    return COUNT(row);
}

static const SafeMeta pt[] = {{"format", "pt"}};

/* The hash is that of safetensors.torch.save(t, metadata={"format": "pt"}) of safetensors 0.8.0 for the same
 * tensors. */
static void same_bytes_as_the_reference(void **state) {
    (void)state;
    SafeItem item[11];
    int n = sample(item);
    char sum[HASH_TEXT], again[HASH_TEXT];
    uint64_t size;
    Error e;
    assert_true(safe_save(at("ref.safetensors"), item, n, pt, 1, sum, &e));
    assert_string_equal(sum, "f36df3bf9d79b39165acc0dbb94d8c3144220f766e3a857fcc713d2657871ab4");
    assert_true(hash_file(at("ref.safetensors"), again, &size, &e));
    assert_string_equal(sum, again);
    assert_int_equal(size, 765);
    assert_int_equal(entries_of(folder), 1); /* nothing left beside it */
}

static void reads_what_it_wrote(void **state) {
    (void)state;
    SafeItem item[11];
    SafeFile *f;
    Error e;
    int n = sample(item);
    assert_true(safe_save(at("ref.safetensors"), item, n, pt, 1, NULL, &e));
    assert_true(safe_open(&f, at("ref.safetensors"), &e));
    assert_int_equal(safe_count(f), n);
    assert_string_equal(safe_meta(f, "format"), "pt");
    assert_null(safe_meta(f, "none"));
    assert_null(safe_find(f, "none"));
    for (int k = 0; k < n; k++) {
        const SafeEntry *x = safe_find(f, item[k].name);
        uint8_t bytes[64];
        assert_non_null(x);
        assert_int_equal(x->type, item[k].type);
        assert_int_equal(x->ndim, item[k].ndim);
        for (int d = 0; d < x->ndim; d++) assert_int_equal(x->dim[d], item[k].dim[d]);
        assert_int_equal(x->size, safe_item_bytes(&item[k]));
        assert_true(safe_read_raw(f, x, bytes, (size_t)x->size, &e));
        if (x->size) assert_memory_equal(bytes, item[k].data, (size_t)x->size);
    }
    real value[6];
    assert_true(safe_read_real(f, safe_find(f, "h"), value, 4, &e));
    assert_true(value[0] == 1 && value[1] == -2 && value[2] == 0.25f && value[3] == 65504);
    assert_true(safe_read_real(f, safe_find(f, "w"), value, 4, &e));
    assert_true(value[0] == 1 && value[1] == -2 && value[2] == 0.5f && value[3] == 3);
    assert_true(safe_read_real(f, safe_find(f, "d"), value, 1, &e));
    assert_true(value[0] == (real)0.1);
    assert_false(safe_read_real(f, safe_find(f, "i"), value, 2, &e));
    assert_non_null(strstr(e.text, "\"i\" is I32[2]"));
    safe_close(f);
}

/* Tensors out and in, bf16 from f32 and f32 from bf16, and larger than every buffer on the way. */
static void tensors(void **state) {
    (void)state;
    enum { N = 700007 };
    float *a = malloc(N * sizeof *a), *b = malloc(N * sizeof *b);
    bf16 *h = malloc(N * sizeof *h), *g = malloc(N * sizeof *g);
    int32_t i[3] = {1, -2, INT32_MAX}, j[3];
    uint8_t u[5] = {0, 1, 2, 254, 255}, v[5];
    SafeFile *f;
    Error e;
    Rng r = rng_open(1, RNG_TEST, 0, 0);
    for (int k = 0; k < N; k++) h[k] = bf16_from_f32(a[k] = (float)rng_normal(&r));
    Tensor ta = {a, {7, N / 7}, 2, .dtype = DT_F32}, th = {h, {N}, 1, .dtype = DT_BF16};
    Tensor ti = {i, {3, 1}, 2, .dtype = DT_I32}, tu = {u, {5}, 1, .dtype = DT_U8};
    Tensor *all[] = {&ta, &th, &ti, &tu};
    SafeItem item[4];
    for (int k = 0; k < 4; k++) item[k] = safe_item((const char *[]){"a", "h", "i", "u"}[k], all[k]);
    assert_true(safe_save(at("t.safetensors"), item, 4, NULL, 0, NULL, &e));
    assert_true(safe_open(&f, at("t.safetensors"), &e));
    ta.data = b, th.data = g, ti.data = j, tu.data = v;
    assert_true(safe_read(f, safe_find(f, "a"), &ta, &e));
    assert_true(safe_read(f, safe_find(f, "h"), &th, &e));
    assert_true(safe_read(f, safe_find(f, "i"), &ti, &e));
    assert_true(safe_read(f, safe_find(f, "u"), &tu, &e));
    assert_memory_equal(a, b, N * sizeof *a);
    assert_memory_equal(h, g, N * sizeof *h);
    assert_memory_equal(i, j, sizeof i);
    assert_memory_equal(u, v, sizeof u);
    Tensor wide = {b, {N}, 1, .dtype = DT_F32}, narrow = {g, {7, N / 7}, 2, .dtype = DT_BF16};
    assert_true(safe_read(f, safe_find(f, "h"), &wide, &e));
    for (int k = 0; k < N; k++) assert_true(b[k] == bf16_to_f32(h[k]));
    memset(g, 0, N * sizeof *g);
    assert_true(safe_read(f, safe_find(f, "a"), &narrow, &e));
    assert_memory_equal(h, g, N * sizeof *h);
    /* what does not fit says both sides */
    wide.dim[0]--;
    assert_false(safe_read(f, safe_find(f, "h"), &wide, &e));
    assert_non_null(strstr(e.text, "tensor \"h\" is BF16[700007]; f32[700006] was wanted"));
    ti.dtype = DT_F32;
    assert_false(safe_fits(f, safe_find(f, "i"), &ti, &e));
    safe_close(f);
    free(a), free(b), free(h), free(g);
}

/* Every half there is, against the definition. */
static void halves(void **state) {
    (void)state;
    uint16_t *h = malloc(65536 * 2);
    real *v = malloc(65536 * sizeof *v);
    SafeFile *f;
    Error e;
    for (int k = 0; k < 65536; k++) h[k] = (uint16_t)k;
    SafeItem item = {"h", SAFE_F16, 1, {65536}, h};
    assert_true(safe_save(at("h.safetensors"), &item, 1, NULL, 0, NULL, &e));
    assert_true(safe_open(&f, at("h.safetensors"), &e));
    assert_true(safe_read_real(f, safe_at(f, 0), v, 65536, &e));
    for (int k = 0; k < 65536; k++) {
        int exponent = k >> 10 & 31, m = k & 1023;
        double x = exponent == 0 ? ldexp(m, -24) : ldexp(1024 + m, exponent - 25);
        if (exponent == 31 && m) {
            assert_true(isnan(v[k]));
            continue;
        }
        if (exponent == 31) x = INFINITY;
        assert_true((double)v[k] == (k >> 15 ? -x : x));
        assert_int_equal(signbit(v[k]) != 0, k >> 15);
    }
    safe_close(f);
    free(h), free(v);
}

static void unwritable(void **state) {
    (void)state;
    float x = 1;
    SafeItem item = {"bad \xFF name", SAFE_F32, 1, {1}, &x};
    Error e;
    assert_false(safe_save(at("u.safetensors"), &item, 1, NULL, 0, NULL, &e));
    assert_non_null(strstr(e.text, "UTF-8"));
    item.name = "x";
    assert_false(safe_save(at("none/u.safetensors"), &item, 1, NULL, 0, NULL, &e));
    assert_non_null(strstr(e.text, "none/"));
    SafeMeta meta = {"k", "\xC0\x80"};
    assert_false(safe_save(at("u.safetensors"), &item, 1, &meta, 1, NULL, &e));
    assert_int_equal(file_kind(at("u.safetensors")), FILE_NONE);
}

/* ------------------------------------------------------------------------------------------- refusing --- */

static bool opens(const char *header, size_t length, uint64_t claim, size_t data, Error *e) {
    size_t size = 8 + length + data;
    uint8_t *bytes = calloc(size, 1);
    SafeFile *f;
    memcpy(bytes, &claim, 8);
    memcpy(bytes + 8, header, length);
    bool ok = safe_open_bytes(&f, "x.safetensors", bytes, size, e);
    safe_close(f);
    free(bytes);
    return ok;
}

#define T(name, dtype, shape, range)                                                                         \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" range "}"

static void accepts(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
    } row[] = {
        {"{}", 0},
        {"{}      ", 0},
        {" {}" + 1, 0},
        {"{\"__metadata__\":{}}", 0},
        {"{\"__metadata__\":{\"a\":\"b\",\"c\":\"\"}," T("x", "F32", "[2,3]", "[0,24]") "}", 24},
        {"{ \"x\" :\t{ \"data_offsets\" : [ 0 , 4 ] ,\n \"dtype\":\"F32\", \"shape\" : [ ] }\r}   ", 4},
        {"{" T("b", "U8", "[1]", "[4,5]") "," T("a", "I32", "[1]", "[0,4]") "}", 5},
        {"{" T("x", "F32", "[0]", "[0,0]") "}", 0},
        {"{" T("x", "F32", "[0,9223372036854775807]", "[0,0]") "}", 0},
        {"{" T("x", "F32", "[1]", "[0,4]") "," T("e", "F32", "[0]", "[0,0]") "," T("f", "U8", "[0]",
                                                                                   "[4,4]") "}",
         4},
        {"{" T("x", "F4", "[2,3]", "[0,3]") "}", 3},
        {"{" T("x", "F6_E2M3", "[4]", "[0,3]") "}", 3},
        {"{" T("x", "C64", "[1]", "[0,8]") "}", 8},
        {"{" T("", "BOOL", "[1]", "[0,1]") "}", 1},
        {"{" T("\xE6\xA8\xA1\\u578b\\ud83d\\ude00", "BOOL", "[1]", "[0,1]") "}", 1},
    };
    for (int i = 0; i < COUNT(row); i++) {
        Error e = {0};
        if (!opens(row[i].header, strlen(row[i].header), strlen(row[i].header), row[i].data, &e))
            fail_msg("%s refused: %s", row[i].header, e.text);
    }
}

static void refuses(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *says;
    } row[] = {
        /* text */
        {"", 0, "byte 8 of the header: '{' was expected"},
        {" {}", 0, "'{' was expected"},
        {"[]", 0, "'{' was expected"},
        {"{", 0, "a tensor's name was expected"},
        {"{} x", 0, "byte 11 of the header: only spaces"},
        {"{}\n", 0, "only spaces"},
        {"{}{}", 0, "only spaces"},
        {"{,}", 0, "a tensor's name was expected"},
        {"{" T("x", "U8", "[1]", "[0,1]") ",}", 1, "a tensor's name was expected"},
        {"{" T("x", "U8", "[1]", "[0,1]"), 1, "the header ends early"},
        {"{\"x\":{\"dtype\":\"U8", 1, "a text that does not end"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[1", 1, "the header ends early"},
        {"{'x':1}", 0, "a tensor's name was expected"},
        {"{\"x\":1}", 0, "'{' was expected"},
        {"{\"x\":null}", 0, "'{' was expected"},
        {"{" T("a\nb", "U8", "[1]", "[0,1]") "}", 1, "byte 11 of the header: a control character"},
        {"{" T("a\xFF", "U8", "[1]", "[0,1]") "}", 1, "byte 0xFF is not UTF-8"},
        {"{" T("a\xC0\x80", "U8", "[1]", "[0,1]") "}", 1, "byte 0xC0 is not UTF-8"},
        {"{" T("a\xED\xA0\x80", "U8", "[1]", "[0,1]") "}", 1, "is not UTF-8"},
        {"{" T("a\\u0000", "U8", "[1]", "[0,1]") "}", 1, "a NUL inside a text"},
        {"{" T("a\\ud800", "U8", "[1]", "[0,1]") "}", 1, "half a surrogate pair"},
        {"{" T("a\\udc00", "U8", "[1]", "[0,1]") "}", 1, "half a surrogate pair"},
        {"{" T("a\\ud800\\u0041", "U8", "[1]", "[0,1]") "}", 1, "half a surrogate pair"},
        {"{" T("a\\x", "U8", "[1]", "[0,1]") "}", 1, "an escape that JSON does not know"},
        {"{" T("a\\u12g4", "U8", "[1]", "[0,1]") "}", 1, "four hex digits"},
        /* metadata */
        {"{\"__metadata__\":{\"a\":1}}", 0, "a value of the metadata was expected"},
        {"{\"__metadata__\":{\"a\":null}}", 0, "a value of the metadata was expected"},
        {"{\"__metadata__\":{\"a\":{\"b\":\"c\"}}}", 0, "a value of the metadata was expected"},
        {"{\"__metadata__\":[]}", 0, "before the metadata"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ stands twice"},
        {"{\"__metadata__\":{\"a\":\"1\",\"b\":\"\",\"\\u0061\":\"2\"}}", 0, "the metadata has \"a\" twice"},
        /* keys */
        {"{" T("x", "U8", "[1]", "[0,1]") "," T("y", "U8", "[1]", "[1,2]") "," T("x", "U8", "[1]",
                                                                                 "[2,3]") "}",
         3, "tensor \"x\" stands in the header twice"},
        {"{" T("x", "U8", "[1]", "[0,1]") "," T("\\u0078", "U8", "[1]", "[1,2]") "}", 2,
         "tensor \"x\" stands in the header twice"},
        {"{\"x\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
         "dtype stands twice"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
         "shape stands twice"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "tensor \"x\" has no data_offsets"},
        {"{\"x\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "tensor \"x\" has no shape"},
        {"{\"x\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "tensor \"x\" has no dtype"},
        {"{\"x\":{}}", 0, "dtype, shape or data_offsets was expected"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"more\":1}}", 1,
         "a tensor has no \"more\""},
        /* dtype */
        {"{" T("x", "F31", "[1]", "[0,4]") "}", 4, "dtype \"F31\" is none of the format's"},
        {"{" T("x", "f32", "[1]", "[0,4]") "}", 4, "dtype \"f32\" is none"},
        {"{\"x\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "a dtype was expected"},
        /* numbers */
        {"{" T("x", "U8", "[-1]", "[0,1]") "}", 1, "a length in the shape was expected"},
        {"{" T("x", "U8", "[1.0]", "[0,1]") "}", 1, "must be a whole number"},
        {"{" T("x", "U8", "[1e0]", "[0,1]") "}", 1, "must be a whole number"},
        {"{" T("x", "U8", "[01]", "[0,1]") "}", 1, "begins with 0"},
        {"{" T("x", "U8", "[\\\"1\\\"]", "[0,1]") "}", 1, "a length in the shape was expected"},
        {"{" T("x", "U8", "[[1]]", "[0,1]") "}", 1, "a length in the shape was expected"},
        {"{" T("x", "U8", "1", "[0,1]") "}", 1, "before the shape"},
        {"{" T("x", "U8", "[1,]", "[0,1]") "}", 1, "a length in the shape was expected"},
        {"{" T("x", "U8", "[1 1]", "[0,1]") "}", 1, "after the shape"},
        {"{" T("x", "U8", "[18446744073709551616]", "[0,1]") "}", 1, "beyond 64 bits"},
        {"{" T("x", "U8", "[9223372036854775808]", "[0,1]") "}", 1, "beyond 63 bits"},
        {"{" T("x", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1, "a shape of more than 8 lengths"},
        {"{" T("x", "U8", "[1]", "[0]") "}", 1, "between two data offsets"},
        {"{" T("x", "U8", "[1]", "[0,1,2]") "}", 1, "after two data offsets"},
        {"{" T("x", "U8", "[1]", "[-1,0]") "}", 1, "a data offset was expected"},
        {"{" T("x", "U8", "[1]", "[0,99999999999999999999]") "}", 1, "beyond 64 bits"},
        /* sizes */
        {"{" T("x", "F32", "[2]", "[0,4]") "}", 4, "\"x\" is F32[2], which takes 8 bytes, but has 4"},
        {"{" T("x", "F32", "[0]", "[0,4]") "}", 4, "which takes 0 bytes, but has 4"},
        {"{" T("x", "U8", "[4294967296,4294967296]", "[0,0]") "}", 0, "overflows"},
        {"{" T("x", "F64", "[2305843009213693952]", "[0,0]") "}", 0, "overflows"},
        {"{" T("x", "U8", "[4294967296,4294967296,0]", "[0,0]") "}", 0, "overflows"},
        {"{" T("x", "F4", "[3]", "[0,2]") "}", 2, "no whole number of bytes"},
        /* ranges */
        {"{" T("x", "U8", "[1]", "[1,0]") "}", 1, "ends at byte 0 of the data, before it begins at 1"},
        {"{" T("x", "U8", "[1]", "[1,2]") "}", 2, "begins at byte 1 of the data where 0 was due: a hole"},
        {"{" T("x", "U8", "[1]", "[0,1]") "," T("y", "U8", "[1]", "[2,3]") "}", 3,
         "tensor \"y\" begins at byte 2 of the data where 1 was due: a hole"},
        {"{" T("x", "U8", "[2]", "[0,2]") "," T("y", "U8", "[2]", "[1,3]") "}", 3, "an overlap"},
        {"{" T("x", "U8", "[2]", "[0,2]") "," T("y", "U8", "[2]", "[0,2]") "}", 2, "an overlap"},
        {"{" T("x", "U8", "[9]", "[0,9]") "}", 8, "ends at byte 9 of the data, of which the file holds 8"},
        {"{" T("x", "U8", "[18446744073709551608]", "[0,18446744073709551608]") "}", 8, "beyond 63 bits"},
        {"{" T("x", "U8", "[9223372036854775807]", "[0,9223372036854775807]") "}", 8,
         "of which the file holds 8"},
        {"{" T("x", "U8", "[1]", "[0,1]") "}", 2, "1 bytes after the last tensor"},
        {"{}", 5, "5 bytes after the last tensor"},
    };
    for (int i = 0; i < COUNT(row); i++) {
        Error e = {0};
        if (opens(row[i].header, strlen(row[i].header), strlen(row[i].header), row[i].data, &e))
            fail_msg("%s was accepted", row[i].header);
        if (!strstr(e.text, row[i].says))
            fail_msg("%s\n says: %s\n  not: %s", row[i].header, e.text, row[i].says);
        assert_ptr_equal(strstr(e.text, "x.safetensors: "), e.text);
        assert_null(strchr(e.text, '\n'));
    }
}

/* A header's length that lies, in small and in large. */
static void lying_length(void **state) {
    (void)state;
    static const uint64_t claim[] = {3, 100000000, 100000001, 10000000000, INT64_MAX, UINT64_MAX};
    SafeFile *f;
    Error e;
    for (int i = 0; i < COUNT(claim); i++) {
        uint64_t calls = mem_stat().calls;
        assert_false(opens("{}", 2, claim[i], 0, &e));
        assert_non_null(strstr(e.text, "the header claims"));
        assert_true(mem_stat().calls - calls <= 2); /* refused before any memory for it */
    }
    for (size_t n = 0; n < 8; n++) {
        assert_false(safe_open_bytes(&f, "x", "\2\0\0\0\0\0\0", n, &e));
        assert_non_null(strstr(e.text, "too few"));
    }
    assert_false(opens("{}", 2, 0, 0, &e));
    assert_false(opens("{}", 2, 1, 0, &e));
    assert_false(safe_open(&f, at("none"), &e));
    assert_false(safe_open(&f, folder, &e));
    assert_non_null(strstr(e.text, "not a regular file"));
}

/* More tensors than any model has: refused in one pass. */
static void too_many(void **state) {
    (void)state;
    size_t room = (size_t)(SAFE_MAX_TENSORS + 1) * 64, used = 0;
    char *text = malloc(room);
    Error e;
    for (int i = 0; i <= SAFE_MAX_TENSORS; i++)
        used += (size_t)sprintf(text + used, "%c" T("%x", "U8", "[0]", "[0,0]"), i ? ',' : '{', i);
    text[used++] = '}';
    assert_false(opens(text, used, used, 0, &e));
    assert_non_null(strstr(e.text, "more than 1048576 tensors"));
    free(text);
}

/* Every truncation is refused; every flipped bit is refused or leaves a file whose entries lie inside it. */
static void torn(void **state) {
    (void)state;
    SafeItem item[11];
    char *bytes;
    size_t size;
    SafeFile *f;
    Error e;
    int n = sample(item), refused = 0;
    assert_true(safe_save(at("ref.safetensors"), item, n, pt, 1, NULL, &e));
    assert_true(file_read(at("ref.safetensors"), 1 << 20, &bytes, &size, &e));
    for (size_t cut = 0; cut < size; cut++) assert_false(safe_open_bytes(&f, "x", bytes, cut, &e));
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        if (!safe_open_bytes(&f, "x", bytes, size, &e)) refused++;
        for (int64_t i = 0; f && i < safe_count(f); i++) {
            uint8_t data[64];
            const SafeEntry *x = safe_at(f, i);
            assert_true(x->begin + x->size <= size && x->size <= sizeof data);
            assert_true(safe_read_raw(f, x, data, (size_t)x->size, &e));
        }
        safe_close(f);
        bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
    assert_true(refused >
                2000); /* of 5,440 bits of length and header; the rest renames or retypes something */
    mem_free(bytes);
}

/* ------------------------------------------------------------------------------------------- failing --- */

static void out_of_memory(void **state) {
    (void)state;
    SafeItem item[11];
    SafeFile *f;
    Error e;
    int n = sample(item);
    uint64_t live = mem_stat().live;
    bool ok = false;
    for (int k = 0; !ok; k++) {
        mem_fail_after(k);
        ok = safe_save(at("m.safetensors"), item, n, pt, 1, NULL, &e);
        mem_fail_after(-1);
        if (!ok) assert_int_equal(e.code, ERROR_MEMORY);
        if (!ok) assert_int_equal(file_kind(at("m.safetensors")), FILE_NONE);
        assert_int_equal(mem_stat().live, live);
        assert_true(k < 20);
    }
    ok = false;
    for (int k = 0; !ok; k++) {
        mem_fail_after(k);
        ok = safe_open(&f, at("m.safetensors"), &e);
        mem_fail_after(-1);
        if (!ok) assert_int_equal(e.code, ERROR_MEMORY);
        safe_close(f);
        assert_int_equal(mem_stat().live, live);
        assert_true(k < 20);
    }
}

/* The n-th call of any kind fails: the old file stands, or the new one does, and nothing else is left. */
static void failing_calls(void **state) {
    (void)state;
    static const int action[] = {EIO, ENOSPC, FAULT_FULL, FAULT_SHORT};
    float one[3] = {1, 1, 1}, two[3] = {2, 2, 2}, got[3];
    SafeItem old = {"x", SAFE_F32, 1, {3}, one}, new = {"x", SAFE_F32, 1, {3}, two};
    SafeFile *f;
    Error e;
    int64_t before = entries_of(folder) + 1;
    for (int a = 0; a < COUNT(action); a++) {
        for (int n = 0;; n++) {
            assert_true(safe_save(at("n.safetensors"), &old, 1, NULL, 0, NULL, &e));
            fault_arm(FAULT_ANY, n, action[a]);
            bool ok = safe_save(at("n.safetensors"), &new, 1, NULL, 0, NULL, &e);
            fault_disarm();
            assert_true(safe_open(&f, at("n.safetensors"), &e));
            assert_true(safe_read_real(f, safe_at(f, 0), (real *)got, 3, &e));
            safe_close(f);
            const void *is = got, *was = one, *after = two;
            assert_true((!ok && memcmp(is, was, sizeof got) == 0) || memcmp(is, after, sizeof got) == 0);
            if (action[a] == FAULT_SHORT) assert_true(ok);
            if (fault_count() <= n) break;
        }
        if (action[a] != FAULT_FULL) assert_int_equal(entries_of(folder), before);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bytes_as_the_reference),
        cmocka_unit_test(reads_what_it_wrote),
        cmocka_unit_test(tensors),
        cmocka_unit_test(halves),
        cmocka_unit_test(unwritable),
        cmocka_unit_test(accepts),
        cmocka_unit_test(refuses),
        cmocka_unit_test(lying_length),
        cmocka_unit_test(too_many),
        cmocka_unit_test(torn),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test(failing_calls),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
