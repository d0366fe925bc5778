/* IDX, the format of MNIST and Fashion-MNIST (yann.lecun.com/exdb/mnist), plain or gzip:
 *     images  u32 BE 0x00000803, count, rows, columns, then a byte a pixel
 *     labels  u32 BE 0x00000801, count, then a byte an image
 * train-images-idx3-ubyte(.gz) and train-labels-idx1-ubyte(.gz) are for training, t10k-* for the test. */
#include "core/file.h"
#include "data/dataset.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <zlib.h>

#define IMAGES "images-idx3-ubyte"
#define LABELS "labels-idx1-ubyte"

enum { SIDE = 4096, DEFLATE = 1032 /* bytes that one compressed byte can become at most */ };
static const int64_t most_bytes = (int64_t)4 << 30;

typedef struct Idx {
    const char *path;
    gzFile file;
    int64_t most; /* what the file can hold at most */
} Idx;

static bool idx_open(Idx *x, const char *path, Error *e) {
    struct stat s;
    x->path = path;
    if (stat(path, &s) != 0) return file_error(e, path, "open", errno);
    if (!S_ISREG(s.st_mode)) return error_set(e, ERROR_IO, "%s: not a regular file", path);
    x->most = s.st_size > most_bytes / DEFLATE ? most_bytes : (int64_t)s.st_size * DEFLATE + DEFLATE;
    x->file = gzopen(path, "rb");
    return x->file ? true : file_error(e, path, "open", errno);
}

static bool idx_read(const Idx *x, void *out, int64_t size, Error *e) {
    enum { PIECE = 1 << 20 };
    uint8_t *p = out;
    while (size > 0) {
        int n = gzread(x->file, p, (unsigned)(size < PIECE ? size : PIECE));
        if (n < 0) {
            int code;
            return error_set(e, ERROR_FORMAT, "%s: damaged: %s", x->path, gzerror(x->file, &code));
        }
        if (n == 0)
            return error_set(e, ERROR_FORMAT, "%s: cut short: its data end at byte %lld", x->path,
                             (long long)gztell(x->file));
        p += n;
        size -= n;
    }
    return true;
}

static bool idx_numbers(const Idx *x, uint32_t *out, int n, Error *e) {
    uint8_t b[4];
    for (int i = 0; i < n; i++) {
        if (!idx_read(x, b, 4, e)) return false;
        out[i] = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    }
    return true;
}

/* Nothing may follow; closing also checks gzip's own sum. */
static bool idx_end(Idx *x, Error *e) {
    uint8_t extra;
    int n = gzread(x->file, &extra, 1), closed = gzclose_r(x->file);
    x->file = NULL;
    if (n > 0) return error_set(e, ERROR_FORMAT, "%s: more data than its header says", x->path);
    if (n < 0 || closed != Z_OK) return error_set(e, ERROR_FORMAT, "%s: damaged at its end", x->path);
    return true;
}

static bool read_images(Dataset *d, const char *path, int64_t *count, Error *e) {
    Idx x = {0};
    uint32_t head[4];
    bool ok = false;
    if (!idx_open(&x, path, e)) return false;
    if (!idx_numbers(&x, head, 4, e)) goto out;
    if (head[0] != 0x803) {
        error_set(e, ERROR_FORMAT, "%s: not an IDX file of images: begins with 0x%08x, not 0x00000803", path,
                  head[0]);
        goto out;
    }
    if (head[1] == 0 || head[2] == 0 || head[3] == 0 || head[2] > SIDE || head[3] > SIDE) {
        error_set(e, ERROR_FORMAT, "%s: %u images of %u x %u: expected sides of 1 to %d", path, head[1],
                  head[3], head[2], SIDE);
        goto out;
    }
    int64_t size = (int64_t)head[2] * head[3] * head[1];
    if (size > x.most) {
        error_set(e, ERROR_FORMAT, "%s: cut short or too large: its header promises %lld bytes of pixels",
                  path, (long long)size);
        goto out;
    }
    d->height = (int)head[2], d->width = (int)head[3];
    *count = head[1];
    d->pixel = mem_get((size_t)size);
    if (!d->pixel) {
        error_memory(e, (size_t)size);
        goto out;
    }
    ok = idx_read(&x, d->pixel, size, e) && idx_end(&x, e);
out:
    if (x.file) gzclose_r(x.file);
    return ok;
}

static bool read_labels(Bytes *out, const char *path, int64_t count, Error *e) {
    Idx x = {0};
    uint32_t head[2];
    bool ok = false;
    if (!idx_open(&x, path, e)) return false;
    if (!idx_numbers(&x, head, 2, e)) goto out;
    if (head[0] != 0x801) {
        error_set(e, ERROR_FORMAT, "%s: not an IDX file of labels: begins with 0x%08x, not 0x00000801", path,
                  head[0]);
        goto out;
    }
    if (head[1] != count) {
        error_set(e, ERROR_FORMAT, "%s: %u labels for %lld images", path, head[1], (long long)count);
        goto out;
    }
    if (!bytes_reserve(out, (size_t)count, e)) goto out;
    out->size = (size_t)count;
    ok = idx_read(&x, out->data, count, e) && idx_end(&x, e);
out:
    if (x.file) gzclose_r(x.file);
    return ok;
}

/* DIR/PREFIX-images-idx3-ubyte, with .gz or without; the first that is there. */
static bool find_images(char *out, size_t size, const char *folder, const char *prefix) {
    static const char *const ending[] = {"", ".gz"};
    for (int i = 0; i < COUNT(ending); i++) {
        int n = snprintf(out, size, "%s/%s-" IMAGES "%s", folder, prefix, ending[i]);
        if (n > 0 && (size_t)n < size && file_kind(out) == FILE_REGULAR) return true;
    }
    return false;
}

bool dataset_is_idx(const char *path) {
    char found[FILE_PATH];
    if (file_kind(path) == FILE_REGULAR) return strstr(file_base(path), "idx3-ubyte") != NULL;
    return find_images(found, sizeof found, path, "train") || find_images(found, sizeof found, path, "t10k");
}

/* The labels' file beside the images' one; false if there is none. */
static bool labels_beside(char *out, size_t size, const char *images) {
    const char *at = strstr(file_base(images), IMAGES);
    if (!at) return false;
    static const char *const ending[] = {".gz", ""};
    for (int i = 0; i < COUNT(ending); i++) {
        int n = snprintf(out, size, "%.*s" LABELS "%s", (int)(at - images), images, ending[i]);
        if (n > 0 && (size_t)n < size && file_kind(out) == FILE_REGULAR) return true;
    }
    return false;
}

static bool add_samples(Dataset *d, const Bytes *label, int64_t count, Error *e) {
    int classes = 0;
    char name[12];
    for (size_t i = 0; i < label->size; i++)
        classes = label->data[i] >= classes ? label->data[i] + 1 : classes;
    for (int i = 0; i < classes; i++) {
        snprintf(name, sizeof name, "%d", i);
        if (!dataset_add_class(d, name, e)) return false;
    }
    for (int64_t i = 0; i < count; i++) {
        if (!dataset_add(d, NULL, label->size ? label->data[i] : -1, e)) return false;
        d->sample[i].identity = -1;
    }
    return true;
}

bool dataset_list_idx(Dataset *d, bool train, Error *e) {
    char images[FILE_PATH], labels[FILE_PATH];
    const char *prefix = train ? "train" : "t10k";
    Bytes label = {0};
    int64_t count = 0;
    if (file_kind(d->source) == FILE_FOLDER) {
        if (!find_images(images, sizeof images, d->source, prefix))
            return error_set(e, ERROR_IO, "no images in %s: expected %s-" IMAGES ".gz there", d->source,
                             prefix);
    } else if (snprintf(images, sizeof images, "%s", d->source) >= (int)sizeof images) {
        return error_set(e, ERROR_VALUE, "%s: the path is too long", d->source);
    }
    bool ok = read_images(d, images, &count, e);
    if (ok && labels_beside(labels, sizeof labels, images)) ok = read_labels(&label, labels, count, e);
    ok = ok && add_samples(d, &label, count, e);
    bytes_free(&label);
    if (!ok) return false;
    char *file = mem_string(images); /* the folder said which file; messages and the manifest name the file */
    if (!file) return error_memory(e, strlen(images) + 1);
    mem_free(d->source);
    d->source = file;
    return true;
}
