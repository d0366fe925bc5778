#include "core/weights.h"

#include "core/input.h"
#include "core/safetensors_values.h"
#include "core/torch_file.h"
#include "core/torch_legacy.h"

#include <stdlib.h>
#include <string.h>

enum { HEAD = 512 };

struct Weights {
    SafeFile *safe; /* one of the two */
    TorchFile *torch;
    bool legacy; /* what torch.save wrote before 1.6 */
    char *path;
    SafeEntry *entry; /* in the file's order, names stripped */
    SafeEntry **by_name;
    int64_t count;
};

/* ---------------------------------------------------------------------------------------------- names --- */

static bool all_begin(const Weights *w, const char *prefix) {
    size_t n = strlen(prefix);
    for (int64_t i = 0; i < w->count; i++)
        if (strncmp(w->entry[i].name, prefix, n) != 0 || !w->entry[i].name[n]) return false;
    return w->count > 0;
}

static void strip(Weights *w) {
    static const char *const prefix[] = {"module.", "model.", "state_dict.", "_orig_mod.", "net."};
    for (int i = 0; i < COUNT(prefix); i++) {
        if (!all_begin(w, prefix[i])) continue;
        for (int64_t k = 0; k < w->count; k++) w->entry[k].name += strlen(prefix[i]);
        i = -1; /* again from the first: "module.model." */
    }
}

static int compare_name(const void *a, const void *b) {
    return strcmp((*(SafeEntry *const *)a)->name, (*(SafeEntry *const *)b)->name);
}

static int compare_to_name(const void *name, const void *entry) {
    return strcmp(name, (*(SafeEntry *const *)entry)->name);
}

static bool take_entries(Weights *w, const char *path, bool own, Error *e) {
    char shown[SAFE_NAME_TEXT];
    w->count = w->safe ? safe_count(w->safe) : torch_count(w->torch);
    size_t bytes = (size_t)w->count * sizeof *w->entry;
    w->path = mem_string(path);
    w->entry = mem_get(bytes);
    w->by_name = mem_get((size_t)w->count * sizeof *w->by_name);
    if (!w->path || !w->entry || !w->by_name) return error_memory(e, bytes);
    for (int64_t i = 0; i < w->count; i++) {
        w->entry[i] = w->safe ? *safe_at(w->safe, i) : *torch_at(w->torch, i);
        w->by_name[i] = &w->entry[i];
    }
    if (!own) strip(w);
    qsort(w->by_name, (size_t)w->count, sizeof *w->by_name, compare_name);
    for (int64_t i = 1; i < w->count; i++)
        if (strcmp(w->by_name[i - 1]->name, w->by_name[i]->name) == 0)
            return error_set(e, ERROR_FORMAT, "%s: two tensors are called %s", path,
                             safe_name_text(w->by_name[i]->name, shown));
    return true;
}

/* ------------------------------------------------------------------------------------------- opening --- */

/* What people download beside weights, and how it begins. */
static const struct {
    const char *begin;
    size_t at, size;
    const char *what;
} other[] = {
    {"\x80", 0, 1,
     "is a pickle, not what torch.save writes; read it in Python and torch.save its state dict"},
    {"\x1f\x8b", 0, 2, "is compressed by gzip; unpack it first"},
    {"BZh", 0, 3, "is compressed by bzip2; unpack it first"},
    {"\xfd"
     "7zXZ",
     0, 5, "is compressed by xz; unpack it first"},
    {"\x28\xb5\x2f\xfd", 0, 4, "is compressed by zstd; unpack it first"},
    {"ustar", 257, 5, "is a tar archive; unpack it first"},
    {"\x89HDF", 0, 4, "is an HDF5 file; safetensors and PyTorch's .pth are read"},
    {"version https://git-lfs", 0, 23,
     "is a Git LFS pointer and not the file itself; fetch it with git lfs pull"},
    {"<!DOCTYPE", 0, 9, "is a web page; the download did not bring the file"},
    {"<html", 0, 5, "is a web page; the download did not bring the file"},
};

/* A header of less than 4 GB: no text, which has no NUL, looks so. */
static bool is_safe(const uint8_t *head, size_t n) {
    static const uint8_t zero[4];
    return n > 8 && head[8] == '{' && memcmp(head + 4, zero, sizeof zero) == 0;
}

static int find_other(const uint8_t *head, size_t n) {
    for (int i = 0; i < COUNT(other); i++)
        if (n >= other[i].at + other[i].size && !memcmp(head + other[i].at, other[i].begin, other[i].size))
            return i;
    return -1;
}

static bool is_zip(const uint8_t *head, size_t n) {
    return n >= 4 && (memcmp(head, "PK\3\4", 4) == 0 || memcmp(head, "PK\5\6", 4) == 0);
}

bool weights_begin(const char *path) {
    uint8_t head[HEAD];
    Input in;
    Error ignored;
    if (!input_open(&in, path, &ignored)) return false;
    size_t n = in.size < HEAD ? (size_t)in.size : HEAD;
    bool is = input_get(&in, 0, head, n, &ignored) &&
              (is_safe(head, n) || is_zip(head, n) || find_other(head, n) >= 0);
    input_close(&in);
    return is;
}

/* By the first bytes. What is nothing else is asked whether it is a safetensors file. */
static bool open_input(Weights *w, Input in, Error *e) {
    uint8_t head[HEAD];
    size_t n = in.size < HEAD ? (size_t)in.size : HEAD;
    bool fine = input_get(&in, 0, head, n, e);
    if (fine && is_safe(head, n)) return safe_open_input(&w->safe, in, e);
    w->legacy = fine && torch_legacy_is(head, n);
    if (w->legacy) return torch_open_legacy(&w->torch, in, e);
    if (fine && is_zip(head, n)) return torch_open(&w->torch, in, e);
    int known = fine ? find_other(head, n) : -1;
    if (fine && known < 0) return safe_open_input(&w->safe, in, e);
    if (fine) error_set(e, ERROR_FORMAT, "%s: %s", in.path, other[known].what);
    input_close(&in);
    return false;
}

static bool create(Weights **out, Weights **w, Error *e) {
    *out = NULL;
    *w = mem_zero(1, sizeof **w);
    return *w ? true : error_memory(e, sizeof **w);
}

/* Hands over what was opened, or closes it. */
static bool finish(Weights **out, Weights *w, bool fine) {
    if (!fine) weights_close(w);
    if (fine) *out = w;
    return fine;
}

bool weights_open(Weights **out, const char *path, Error *e) {
    Weights *w;
    Input in;
    if (!create(out, &w, e)) return false;
    return finish(out, w,
                  input_open(&in, path, e) && open_input(w, in, e) && take_entries(w, path, false, e));
}

bool weights_open_bytes(Weights **out, const char *name, const void *bytes, size_t size, Error *e) {
    Weights *w;
    Input in;
    if (!create(out, &w, e)) return false;
    return finish(out, w,
                  input_open_bytes(&in, name, bytes, size, e) && open_input(w, in, e) &&
                      take_entries(w, name, false, e));
}

bool weights_open_safe(Weights **out, const char *path, Error *e) {
    Weights *w;
    if (!create(out, &w, e)) return false;
    return finish(out, w, safe_open(&w->safe, path, e) && take_entries(w, path, true, e));
}

void weights_close(Weights *w) {
    if (!w) return;
    safe_close(w->safe);
    torch_close(w->torch);
    mem_free(w->path);
    mem_free(w->entry);
    mem_free(w->by_name);
    mem_free(w);
}

/* ------------------------------------------------------------------------------------------- reading --- */

const char *weights_path(const Weights *w) {
    return w->path;
}

const char *weights_format(const Weights *w) {
    return w->safe ? "safetensors" : w->legacy ? "PyTorch before 1.6" : "PyTorch zip";
}

int64_t weights_count(const Weights *w) {
    return w->count;
}

const SafeEntry *weights_at(const Weights *w, int64_t i) {
    return &w->entry[i];
}

const SafeEntry *weights_find(const Weights *w, const char *name) {
    SafeEntry **x = bsearch(name, w->by_name, (size_t)w->count, sizeof *w->by_name, compare_to_name);
    return x ? *x : NULL;
}

bool weights_have(const Weights *w, const char *prefix) {
    for (int64_t i = 0; i < w->count; i++)
        if (strncmp(w->entry[i].name, prefix, strlen(prefix)) == 0) return true;
    return false;
}

int64_t weights_blocks(const Weights *w, const char *prefix) {
    size_t n = strlen(prefix);
    int64_t blocks = 0;
    for (int64_t i = 0; i < w->count; i++) {
        const char *name = w->entry[i].name;
        if (strncmp(name, prefix, n) != 0 || name[n] != '.') continue;
        size_t digits = strspn(name + n + 1, "0123456789");
        if (digits == 0 || name[n + 1 + digits] != '.') continue;
        int64_t block = digits > 4 ? 9998 : strtol(name + n + 1, NULL, 10);
        if (block >= blocks) blocks = block + 1;
    }
    return blocks;
}

int64_t weights_ignored(const Weights *w) {
    return w->torch ? torch_ignored(w->torch) : 0;
}

const SafeFile *weights_safe(const Weights *w) {
    return w->safe;
}

bool weights_fits(const Weights *w, const SafeEntry *x, const Tensor *t, Error *e) {
    return safe_values_fit(w->path, x, t, e);
}

bool weights_read(const Weights *w, const SafeEntry *x, Tensor *t, Error *e) {
    int64_t i = x - w->entry;
    return w->safe ? safe_read(w->safe, safe_at(w->safe, i), t, e) : torch_read(w->torch, i, t, e);
}

bool weights_read_real(const Weights *w, const SafeEntry *x, real *out, int64_t count, Error *e) {
    int64_t i = x - w->entry;
    return w->safe ? safe_read_real(w->safe, safe_at(w->safe, i), out, count, e)
                   : torch_read_real(w->torch, i, out, count, e);
}

bool weights_read_raw(const Weights *w, const SafeEntry *x, void *out, size_t size, Error *e) {
    int64_t i = x - w->entry;
    return w->safe ? safe_read_raw(w->safe, safe_at(w->safe, i), out, size, e)
                   : torch_read_raw(w->torch, i, out, size, e);
}
