#include "core/torch_file.h"

#include "core/json_scan.h"
#include "core/pickle.h"
#include "core/safetensors_header.h"
#include "core/safetensors_values.h"
#include "core/torch_legacy.h"
#include "core/zip.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MOST_NAME = 400, MOST_NAMES = 1 << 26, ROOT = 512, NEWEST = 10 };

/* Where a tensor's elements lie. */
typedef struct View {
    const ZipEntry *storage;
    int64_t stride[SAFE_MAX_DIM]; /* elements */
    uint64_t span;                /* bytes from the first element to the end of the last */
    bool dense;                   /* C order, without gaps */
} View;

struct TorchFile {
    Input in;
    Zip zip;
    bool big;      /* endian */
    bool *checked; /* [zip.count]: the checksum was compared */
    SafeEntry *entry;
    View *view;
    char *names;
    int64_t count, ignored;
};

static bool PRINTF_LIKE(4, 5)
    refuse(const TorchFile *f, const char *name, Error *e, const char *format, ...) {
    char text[400], shown[SAFE_NAME_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set(e, ERROR_FORMAT, "%s: tensor %s %s", f->in.path, safe_name_text(name, shown), text);
}

/* ---------------------------------------------------------------------------------------------- views --- */

/* The storage's entry, which must have the size that the pickle says. */
static bool find_storage(const TorchFile *f, const char *root, const SafeEntry *x, const PickleStorage *s,
                         const ZipEntry **out, Error *e) {
    char path[ROOT + 128], shown[PICKLE_SHOWN];
    uint64_t bytes, width = s->bytes ? 1 : (uint64_t)safe_type_bits(s->type) / 8;
    int n = snprintf(path, sizeof path, "%s/data/%.*s", root, (int)(s->key.size < 100 ? s->key.size : 100),
                     s->key.at);
    *out = s->key.size < 100 && (size_t)n < sizeof path ? zip_find(&f->zip, path) : NULL;
    if (!*out)
        return refuse(f, x->name, e, "lies in storage %s, which is not in the file",
                      pickle_shown(s->key, shown));
    if (__builtin_mul_overflow(s->length, width, &bytes) || bytes != (*out)->size)
        return refuse(f, x->name, e,
                      "lies in storage %s of %" PRIu64 " elements, but the file has %" PRIu64 " bytes of it",
                      pickle_shown(s->key, shown), s->length, (*out)->size);
    return true;
}

/* The distance from the first to the last element; false where two elements are one, or it overflows. From
 * the smallest stride on, each must step over all that the smaller ones reach. */
static bool reach_of(const SafeEntry *x, const int64_t *stride, uint64_t *reach) {
    bool done[SAFE_MAX_DIM] = {false};
    *reach = 0;
    for (int k = 0; k < x->ndim; k++) {
        int least = -1;
        for (int i = 0; i < x->ndim; i++)
            if (!done[i] && (least < 0 || stride[i] < stride[least])) least = i;
        uint64_t more;
        done[least] = true;
        if (x->dim[least] == 1) continue;
        if ((uint64_t)stride[least] <= *reach) return false;
        if (__builtin_mul_overflow((uint64_t)stride[least], (uint64_t)x->dim[least] - 1, &more) ||
            __builtin_add_overflow(*reach, more, reach))
            return false;
    }
    return true;
}

static bool is_dense(const SafeEntry *x, const int64_t *stride) {
    int64_t due = 1;
    for (int i = x->ndim - 1; i >= 0; i--) {
        if (x->dim[i] != 1 && stride[i] != due) return false;
        due *= x->dim[i];
    }
    return true;
}

static bool check_view(const TorchFile *f, const char *root, const PickleTensor *t, SafeEntry *x, View *v,
                       Error *e) {
    uint64_t width = (uint64_t)safe_type_bits(t->type) / 8, reach, end, begin;
    char text[224];
    if (!find_storage(f, root, x, &t->storage, &v->storage, e)) return false;
    x->type = t->type;
    x->ndim = t->ndim;
    for (int i = 0; i < t->ndim; i++) {
        if (t->dim[i] < 0 || t->stride[i] < 0)
            return refuse(f, x->name, e, "has a negative %s: %" PRId64, t->dim[i] < 0 ? "size" : "stride",
                          t->dim[i] < 0 ? t->dim[i] : t->stride[i]);
        x->dim[i] = t->dim[i];
        v->stride[i] = t->stride[i];
    }
    if (!safe_bytes(x->dim, x->ndim, x->type, &x->size))
        return refuse(f, x->name, e, "is %s: its size overflows", safe_entry_text(x, text));
    x->begin = v->storage->begin;
    v->dense = true;
    if (x->size == 0) return true;
    if (!reach_of(x, v->stride, &reach))
        return refuse(f, x->name, e,
                      "is %s with strides under which its elements overlap; save a contiguous() copy of it",
                      safe_entry_text(x, text));
    if (__builtin_add_overflow(t->offset, reach, &end) || __builtin_add_overflow(end, 1u, &end) ||
        __builtin_mul_overflow(end, width, &end) || end > v->storage->size)
        return refuse(f, x->name, e,
                      "is %s from element %" PRIu64 " on: beyond its storage of %" PRIu64 " bytes",
                      safe_entry_text(x, text), t->offset, v->storage->size);
    begin = t->offset * width;
    x->begin += begin;
    v->span = end - begin;
    v->dense = is_dense(x, v->stride);
    return true;
}

/* ----------------------------------------------------------------------------------------- the object --- */

static PickleKind kind_of(const Pickle *p, uint32_t node) {
    return p->node[node].kind;
}

/* How many tensors a dict holds itself. */
static int64_t count_tensors(const Pickle *p, uint32_t dict) {
    int64_t n = 0;
    if (kind_of(p, dict) != PICKLE_DICT) return 0;
    for (uint32_t c = p->node[dict].chain.first; c; c = p->cell[p->cell[c].next].next)
        n += kind_of(p, p->cell[p->cell[c].next].node) == PICKLE_TENSOR;
    return n;
}

/* The dict of tensors in the object. What training scripts wrap it in comes before tensors beside it: a loss
 * or a counter may stand there. */
static bool find_dict(const TorchFile *f, const Pickle *p, uint32_t *dict, Error *e) {
    static const char *const wrap[] = {"model", "state_dict", "model_state_dict", "model_state",
                                       "net",   "module",     "teacher",          "model_ema"};
    enum { DEEPEST = 4 };
    *dict = p->root;
    for (int depth = 0; depth < DEEPEST; depth++) {
        uint32_t inner = 0;
        for (int i = 0; i < COUNT(wrap) && !inner; i++) {
            inner = pickle_get(p, *dict, wrap[i]);
            if (inner && kind_of(p, inner) != PICKLE_DICT) inner = 0;
        }
        if (!inner) break;
        *dict = inner;
    }
    if (count_tensors(p, *dict)) return true;
    return error_set(
        e, ERROR_FORMAT,
        "%s: holds no dict of tensors, neither itself nor under \"model\", \"state_dict\" or the like",
        f->in.path);
}

/* Copies a name, which must be UTF-8 without NUL, to `to`. */
static bool take_name(const TorchFile *f, PickleText text, char *to, Error *e) {
    char shown[PICKLE_SHOWN];
    size_t i = 0;
    while (i < text.size && text.at[i]) {
        int n = json_utf8(text.at + i, text.size - i);
        if (n <= 0) break;
        i += (size_t)n;
    }
    if (i < text.size || text.size == 0 || text.size > MOST_NAME)
        return error_set(e, ERROR_FORMAT,
                         "%s: a tensor's name is empty, not UTF-8 or longer than %d bytes: %s", f->in.path,
                         MOST_NAME, pickle_shown(text, shown));
    memcpy(to, text.at, text.size);
    to[text.size] = '\0';
    return true;
}

static size_t names_size(const Pickle *p, uint32_t dict) {
    size_t n = 0;
    for (uint32_t c = p->node[dict].chain.first; c; c = p->cell[p->cell[c].next].next) {
        const PickleNode *key = &p->node[p->cell[c].node];
        n += 1 + (key->kind == PICKLE_TEXT && key->text.size <= MOST_NAME ? key->text.size : 0);
    }
    return n;
}

static bool take_tensors(TorchFile *f, const Pickle *p, const char *root, Error *e) {
    uint32_t dict;
    if (!find_dict(f, p, &dict, e)) return false;
    size_t count = (size_t)count_tensors(p, dict), names = names_size(p, dict);
    if (names > MOST_NAMES)
        return error_set(e, ERROR_LIMIT, "%s: more than %d bytes of names", f->in.path, MOST_NAMES);
    f->entry = mem_zero(count, sizeof *f->entry);
    f->view = mem_zero(count, sizeof *f->view);
    f->names = mem_get(names);
    bool *taken = mem_zero(p->tensors, sizeof *taken);
    if (!f->entry || !f->view || !f->names || !taken) {
        mem_free(taken);
        return error_memory(e, count * (sizeof *f->entry + sizeof *f->view) + names);
    }
    char *to = f->names;
    bool fine = true;
    for (uint32_t c = p->node[dict].chain.first; c && fine; c = p->cell[p->cell[c].next].next) {
        const PickleNode *key = &p->node[p->cell[c].node], *value = &p->node[p->cell[p->cell[c].next].node];
        if (value->kind != PICKLE_TENSOR) continue;
        SafeEntry *x = &f->entry[f->count];
        x->name = to;
        fine = key->kind == PICKLE_TEXT
                   ? take_name(f, key->text, to, e)
                   : error_set(e, ERROR_FORMAT, "%s: a tensor whose name is no text", f->in.path);
        fine = fine && check_view(f, root, &p->tensor[value->more], x, &f->view[f->count], e);
        if (!fine) break;
        to += strlen(to) + 1;
        taken[value->more] = true;
        f->count++;
    }
    for (uint32_t i = 1; i < p->tensors; i++) f->ignored += !taken[i];
    mem_free(taken);
    return fine;
}

/* ---------------------------------------------------------------------------------------- the archive --- */

/* The folder that data.pkl lies in: "archive", or the file's own name. */
static bool find_root(const TorchFile *f, char root[ROOT], Error *e) {
    const char *found = NULL;
    for (int64_t i = 0; i < f->zip.count; i++) {
        const char *name = f->zip.entry[i].name, *slash = strchr(name, '/');
        if (!slash || strcmp(slash, "/data.pkl") != 0) continue;
        if (found) return error_set(e, ERROR_FORMAT, "%s: a zip file with two data.pkl", f->in.path);
        found = name;
    }
    if (!found || strlen(found) >= ROOT)
        return error_set(e, ERROR_FORMAT, "%s: a zip file without a data.pkl: torch.save did not write it",
                         f->in.path);
    size_t n = strlen(found) - strlen("/data.pkl");
    memcpy(root, found, n);
    root[n] = '\0';
    return true;
}

static const ZipEntry *find_entry(const TorchFile *f, const char *root, const char *name) {
    char path[ROOT + 32];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return zip_find(&f->zip, path);
}

/* A short entry as text; "" if it is absent. */
static bool read_word(const TorchFile *f, const char *root, const char *name, char text[16], Error *e) {
    const ZipEntry *x = find_entry(f, root, name);
    text[0] = '\0';
    if (!x) return true;
    if (x->size >= 16)
        return error_set(e, ERROR_FORMAT, "%s: %s has %" PRIu64 " bytes", f->in.path, name, x->size);
    if (!input_get(&f->in, x->begin, text, (size_t)x->size, e)) return false;
    text[x->size] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    return true;
}

static bool read_archive(TorchFile *f, const char *root, Error *e) {
    char text[16];
    if (!read_word(f, root, "version", text, e)) return false;
    long version = 0;
    for (const char *c = text; *c && version <= NEWEST; c++)
        version = *c >= '0' && *c <= '9' ? version * 10 + (*c - '0') : NEWEST + 1;
    if (version > NEWEST)
        return error_set(e, ERROR_FORMAT, "%s: its version is not one of 1 to %d", f->in.path, NEWEST);
    if (!read_word(f, root, "byteorder", text, e)) return false;
    f->big = strcmp(text, "big") == 0;
    if (text[0] && !f->big && strcmp(text, "little") != 0)
        return error_set(e, ERROR_FORMAT, "%s: its byteorder is neither little nor big", f->in.path);
    return true;
}

static bool read_object(TorchFile *f, const char *root, Error *e) {
    char entry[ROOT + 32], shown[PICKLE_SHOWN];
    const ZipEntry *x = find_entry(f, root, "data.pkl");
    Pickle p = {0};
    if (!x) return error_set(e, ERROR_FORMAT, "%s: no data.pkl", f->in.path);
    if (x->size > PICKLE_MAX_BYTES)
        return error_set(e, ERROR_LIMIT, "%s: its data.pkl has %" PRIu64 " bytes, above the limit of %d",
                         f->in.path, x->size, PICKLE_MAX_BYTES);
    void *data = mem_get((size_t)x->size);
    if (!data) return error_memory(e, (size_t)x->size);
    snprintf(entry, sizeof entry, "%s/data.pkl", pickle_shown((PickleText){root, strlen(root)}, shown));
    bool fine = zip_check(&f->in, x, e) && input_get(&f->in, x->begin, data, (size_t)x->size, e) &&
                pickle_open(&p, f->in.path, entry, data, (size_t)x->size, NULL, e) &&
                take_tensors(f, &p, root, e);
    pickle_close(&p);
    mem_free(data);
    return fine;
}

/* A file without contents yet, which has taken over the input. */
static TorchFile *create(Input in, Error *e) {
    TorchFile *f = mem_zero(1, sizeof *f);
    if (f) {
        f->in = in;
        return f;
    }
    input_close(&in);
    error_memory(e, sizeof *f);
    return NULL;
}

static bool finish(TorchFile **out, TorchFile *f, bool fine, Error *e) {
    if (fine && !(f->checked = mem_zero((size_t)f->zip.count + 1, sizeof *f->checked)))
        fine = error_memory(e, (size_t)f->zip.count);
    if (!fine) torch_close(f);
    if (fine) *out = f;
    return fine;
}

bool torch_open(TorchFile **out, Input in, Error *e) {
    char root[ROOT];
    *out = NULL;
    TorchFile *f = create(in, e);
    if (!f) return false;
    bool fine = zip_open(&f->zip, &f->in, e) && find_root(f, root, e) && read_archive(f, root, e) &&
                read_object(f, root, e);
    return finish(out, f, fine, e);
}

bool torch_open_legacy(TorchFile **out, Input in, Error *e) {
    TorchLegacy t;
    *out = NULL;
    TorchFile *f = create(in, e);
    if (!f) return false;
    bool fine = torch_legacy_open(&t, &f->in, e);
    f->big = t.big;
    f->zip = t.zip;
    t.zip = (Zip){0};
    fine = fine && take_tensors(f, &t.object, TORCH_LEGACY_ROOT, e);
    torch_legacy_close(&t);
    return finish(out, f, fine, e);
}

void torch_close(TorchFile *f) {
    if (!f) return;
    zip_close(&f->zip);
    mem_free(f->checked);
    mem_free(f->entry);
    mem_free(f->view);
    mem_free(f->names);
    input_close(&f->in);
    mem_free(f);
}

int64_t torch_count(const TorchFile *f) {
    return f->count;
}

const SafeEntry *torch_at(const TorchFile *f, int64_t i) {
    return &f->entry[i];
}

int64_t torch_ignored(const TorchFile *f) {
    return f->ignored;
}

/* -------------------------------------------------------------------------------------------- reading --- */

/* One tensor while it is read. */
typedef struct Reading {
    const TorchFile *f;
    const View *view;
    uint8_t *span; /* all from its first to its last element; NULL where it is dense */
} Reading;

static void swap(uint8_t *p, size_t size, SafeType type) {
    size_t width = type == SAFE_C64 ? 4 : (size_t)safe_type_bits(type) / 8;
    for (size_t at = 0; at + width <= size; at += width)
        for (size_t i = 0; i < width / 2; i++) {
            uint8_t one = p[at + i];
            p[at + i] = p[at + width - 1 - i];
            p[at + width - 1 - i] = one;
        }
}

static void gather(const Reading *r, const SafeEntry *x, uint64_t at, uint8_t *out, size_t size) {
    uint64_t width = (uint64_t)safe_type_bits(x->type) / 8;
    for (uint64_t i = at / width; i < (at + size) / width; i++, out += width) {
        uint64_t rest = i, from = 0;
        for (int k = x->ndim - 1; k >= 0; k--) {
            from += rest % (uint64_t)x->dim[k] * (uint64_t)r->view->stride[k];
            rest /= (uint64_t)x->dim[k];
        }
        memcpy(out, r->span + from * width, width);
    }
}

static bool get_data(const void *self, const SafeEntry *x, uint64_t at, void *out, size_t size, Error *e) {
    const Reading *r = self;
    if (r->span)
        gather(r, x, at, out, size);
    else if (!input_get(&r->f->in, x->begin + at, out, size, e))
        return false;
    if (r->f->big) swap(out, size, x->type);
    return true;
}

static bool reading_open(Reading *r, const TorchFile *f, int64_t i, SafeBytes *bytes, Error *e) {
    const View *v = &f->view[i];
    bool *checked = &f->checked[v->storage - f->zip.entry];
    *r = (Reading){.f = f, .view = v};
    *bytes = (SafeBytes){f->in.path, r, get_data};
    if (!*checked && !zip_check(&f->in, v->storage, e)) return false;
    *checked = true;
    if (v->dense) return true;
    r->span = mem_get((size_t)v->span);
    if (!r->span) return error_memory(e, (size_t)v->span);
    return input_get(&f->in, f->entry[i].begin, r->span, (size_t)v->span, e);
}

bool torch_read(const TorchFile *f, int64_t i, Tensor *t, Error *e) {
    Reading r;
    SafeBytes bytes;
    if (!safe_values_fit(f->in.path, &f->entry[i], t, e)) return false;
    bool fine = reading_open(&r, f, i, &bytes, e) && safe_values_read(&bytes, &f->entry[i], t, e);
    mem_free(r.span);
    return fine;
}

bool torch_read_real(const TorchFile *f, int64_t i, real *out, int64_t count, Error *e) {
    Reading r;
    SafeBytes bytes;
    bool fine = reading_open(&r, f, i, &bytes, e) && safe_values_real(&bytes, &f->entry[i], out, count, e);
    mem_free(r.span);
    return fine;
}

bool torch_read_raw(const TorchFile *f, int64_t i, void *out, size_t size, Error *e) {
    Reading r;
    SafeBytes bytes;
    const SafeEntry *x = &f->entry[i];
    if (size != x->size) die("torch_read_raw: room for %zu bytes, the tensor has %" PRIu64, size, x->size);
    bool fine = reading_open(&r, f, i, &bytes, e) && get_data(&r, x, 0, out, size, e);
    mem_free(r.span);
    return fine;
}
