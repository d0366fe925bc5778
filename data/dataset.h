/* dataset: which images there are, in an order that never changes, and what is known of each.
 *
 *     layout   data.train / data.test                         label, identity
 *     folder   DIR/CLASS/.../IMAGE                            the class, both; classes sorted by bytes
 *     flat     DIR/.../IMAGE                                  none (-1)
 *     idx      DIR of MNIST's files (test: t10k-*), or one    label from the labels file; identity none
 *     coco     a COCO JSON file                               none here; data/coco.h has the annotations
 *     masks    DIR/.../NAME.jpg and, beside it, NAME.png, or  none; data/masks.h reads the masks
 *              NAME.png and NAME_mask.png; or the masks in
 *              data.masks, under the same names with .png
 *     sa1b     DIR/.../NAME.jpg with NAME.json beside it      none; data/sa1b.h
 *     hqseg    the folder of HQSeg-44K's sets: data.train     none
 *              those for training, data.test for validation
 *     auto     by what is there: a .json file; *idx3-ubyte files; images in DIR itself, and then sa1b, masks
 *              or flat by what lies beside the first .jpg; else folder
 *
 * Images are files named .jpg, .jpeg or .png in any case; names that begin with a dot are passed over. Within
 * a class (or flat) files are sorted by path with numbers by value: 2.jpg before 10.jpg. A sample's id is its
 * place in the listing of everything, before data.per_class_train splits it, and so stays the same in both
 * parts.
 *
 * The labels of data.test are those of data.train: a test folder that lacks a class shifts nothing, and a
 * class that data.train does not have is an error. */
#ifndef LETHE_DATASET_H
#define LETHE_DATASET_H

#include "core/hash.h"
#include "data/bytes.h"
#include "data/image.h"
#include "data/settings.h"

typedef struct Sample {
    const char *path; /* the file; NULL in an IDX file */
    const char *mask; /* the file of its mask or masks; NULL: none, or not in a file of its own */
    int64_t id;
    int32_t label, identity; /* -1: none */
} Sample;

struct Coco;

typedef struct Dataset {
    const char *key; /* "data.train" or "data.test": for messages */
    char *source;    /* the path behind it */
    int layout;      /* never LAYOUT_AUTO */
    bool lenient;    /* data.corrupt is "skip" */
    int64_t count;
    Sample *sample; /* [count] */
    int classes;    /* 0: there are no labels */
    char **class_name;
    uint8_t *pixel; /* idx: grey bytes of image id at pixel + id * width * height */
    int width, height;
    struct Coco *coco; /* coco: the whole file; image i of it is sample i */
    Bytes text;        /* behind the paths */
    size_t capacity;   /* of sample */
    bool part;         /* of another set (dataset_part), to which all but `sample` belongs */
} Dataset;

/* Lists data.train (train) or data.test with the settings' layout. Reads no image. */
bool dataset_open(Dataset **out, const DataSettings *set, bool train, Error *e);
void dataset_close(Dataset *d); /* NULL is fine */

/* Those samples of `d` for which keep[i] (its place in d, not its id) is `wanted`, in the same order and with
 * the same ids and classes. Borrows from `d`, which must outlive it. An error if there are none. */
bool dataset_part(Dataset **out, const Dataset *d, const bool *keep, bool wanted, Error *e);

/* Gives the samples the labels of these names (a checkpoint's), by the names of their classes. A class that
 * is not among them is an error, which speaks of `whose`, or, where that is NULL, its samples have no label.
 * Names are copied; a set without labels has none afterwards either. */
bool dataset_use_classes(Dataset *d, char *const *name, int count, const char *whose, Error *e);

/* idx: the image as RGB. */
bool dataset_pixels(const Dataset *d, int64_t i, Image *out, Error *e);

/* Path of sample i, or FILE#ID for one of an IDX file. */
const char *dataset_name(const Dataset *d, int64_t i, char *buffer, size_t size);

/* SHA-256 of sample i's file; of its pixels, where the file has many. Any thread. */
bool dataset_hash(const Dataset *d, int64_t i, char hash[HASH_TEXT], Error *e);

/* The line of the manifest: {"id":3,"path":"...","sha256":"...","identity":"s01"}. The hash is computed here,
 * of the file (idx: of the image's bytes). An identity is the class's name, or null. With a file of masks
 * also "mask_sha256". */
bool dataset_describe(const Dataset *d, int64_t i, char *line, size_t size, Error *e);

/* ------------------------------------------------------------------------- for the layouts' own files --- */

bool dataset_add(Dataset *d, const char *path, int32_t label, Error *e); /* path: copied; may be NULL */
bool dataset_add_pair(Dataset *d, const char *path, const char *mask, Error *e); /* mask: may be NULL */
bool dataset_add_class(Dataset *d, const char *name, Error *e);

bool dataset_list_folder(Dataset *d, Error *e);
bool dataset_list_classes(Dataset *d, Error *e); /* folder: the classes only, no files */
bool dataset_list_flat(Dataset *d, Error *e);
bool dataset_list_idx(Dataset *d, bool train, Error *e);
bool dataset_list_coco(Dataset *d, const char *images, Error *e);
bool dataset_list_masks(Dataset *d, const char *masks, Error *e); /* masks: data.masks */
bool dataset_list_sa1b(Dataset *d, Error *e);
bool dataset_list_hqseg(Dataset *d, bool train, bool partial, Error *e);

/* What lies beside an image of LAYOUT_MASKS or LAYOUT_SA1B; flat: neither. */
int dataset_pair_layout(const char *image);
/* folder/STEM.EXT of dir/STEM.jpg, if there is such a file, whichever case EXT has. */
bool dataset_pair_file(char *out, size_t size, const char *folder, const char *image, const char *ending);

/* Is there an IDX file of images in this folder, or is it one? */
bool dataset_is_idx(const char *path);

#endif
