/* settings: the recipe's data.* keys. */
#ifndef LETHE_DATA_SETTINGS_H
#define LETHE_DATA_SETTINGS_H

#include "core/recipe.h"

enum {
    LAYOUT_AUTO,
    LAYOUT_FOLDER,
    LAYOUT_FLAT,
    LAYOUT_IDX,
    LAYOUT_COCO,
    LAYOUT_MASKS,
    LAYOUT_SA1B,
    LAYOUT_HQSEG
};
enum { CROP_RANDOM, CROP_SINGLE, CROP_CENTRE };
enum { GEOMETRY_CROP, GEOMETRY_LONGEST, GEOMETRY_STRETCH };
enum { CORRUPT_SKIP, CORRUPT_STOP };

#define DATA_FIELDS(X)                                                                                       \
    X(TEXT, train, "data.train", "\"\"", 0, 0, "", "what to learn from: a folder, a COCO JSON or IDX file")  \
    X(TEXT, test, "data.test", "\"\"", 0, 0, "", "what to evaluate on; empty: see data.per_class_train")     \
    X(CHOICE, layout, "data.layout", "\"auto\"", 0, 0, "auto|folder|flat|idx|coco|masks|sa1b|hqseg",         \
      "folder: DIR/CLASS/IMAGE; flat: DIR/IMAGE, no classes; idx: MNIST's files; coco: a JSON file; "        \
      "masks: NAME.jpg and NAME.png; sa1b: NAME.jpg and NAME.json; hqseg: the folders of HQSeg-44K")         \
    X(TEXT, images, "data.images", "\"\"", 0, 0, "",                                                         \
      "coco: folder of the images; empty: looked for near the JSON")                                         \
    X(TEXT, masks, "data.masks", "\"\"", 0, 0, "",                                                           \
      "masks: folder of masks of the images' names, also as seen from their folder (../gt); empty: beside")  \
    X(BOOL, partial, "data.partial", "false", 0, 0, "", "hqseg: do with those of its sets that are there")   \
    X(INT, per_class_train, "data.per_class_train", "0", 0, 1e9, "",                                         \
      "without data.test: the first K images of each class are for training, the rest for the test")         \
    X(INT, workers, "data.workers", "0", 0, 256, "", "threads that decode; 0: one less than the processors") \
    X(INT, cache_mb, "data.cache_mb", "1024", 0, 1e6, "",                                                    \
      "decoded images are kept in memory if all of them fit into so many MiB; 0: never")                     \
    X(CHOICE, geometry, "data.geometry", "\"crop\"", 0, 0, "crop|longest|stretch",                           \
      "to the square: crop: a part; longest: all, padded at the right and below (SAM); stretch: all")        \
    X(REAL, lsj_min, "data.lsj_min", "1", 0.01, 10, "",                                                      \
      "large-scale jitter in training: the longest side is this share of the square at least")               \
    X(REAL, lsj_max, "data.lsj_max", "1", 0.01, 10, "",                                                      \
      "and this one at most; what does not fit is cut off at random; 1 and 1: no jitter")                    \
    X(INT, masks_per_image, "data.masks_per_image", "1", 1, 1024, "", "training: masks drawn of an image")   \
    X(INT, mask_min, "data.mask_min", "4", 1, 1e6, "",                                                       \
      "training: masks of fewer pixels in the square are not drawn")                                         \
    X(REAL, mask_max_share, "data.mask_max_share", "0.9", 0, 1, "",                                          \
      "sa1b, training: masks over this share of the image are not drawn")                                    \
    X(INT, eval_masks, "data.eval_masks", "0", 0, 1e6, "",                                                   \
      "evaluation: the first K masks of an image; 0: all")                                                   \
    X(CHOICE, crop, "data.crop", "\"random\"", 0, 0, "random|single|centre",                                 \
      "random: ten tries (torchvision); single: one, clipped (MAE's probe); centre: as in evaluation")       \
    X(REAL, crop_min, "data.crop_min", "0.2", 1e-4, 1, "", "random crops: smallest share of the area")       \
    X(REAL, crop_max, "data.crop_max", "1", 1e-4, 1, "", "random crops: largest share of the area")          \
    X(REAL, ratio_min, "data.ratio_min", "0.75", 0.01, 100, "", "random crops: smallest width / height")     \
    X(REAL, ratio_max, "data.ratio_max", "1.3333333333333333", 0.01, 100, "",                                \
      "random crops: largest width / height")                                                                \
    X(CHOICE, interpolation, "data.interpolation", "\"bicubic\"", 0, 0, "bilinear|bicubic",                  \
      "resizing, with antialiasing, as Pillow's")                                                            \
    X(BOOL, scaled_decode, "data.scaled_decode", "true", 0, 0, "",                                           \
      "training: a JPEG crop at least twice too large is shrunk while it is decoded")                        \
    X(BOOL, orientation, "data.orientation", "true", 0, 0, "",                                               \
      "turn photographs by their EXIF orientation (torchvision's ImageFolder does not)")                     \
    X(REAL, hflip, "data.hflip", "0.5", 0, 1, "", "probability of mirroring")                                \
    X(REAL, jitter, "data.jitter", "0", 0, 1, "",                                                            \
      "brightness, contrast and saturation each change by a factor of 1 - j to 1 + j, in random order")      \
    X(REAL, randaugment, "data.randaugment", "0", 0, 10, "",                                                 \
      "RandAugment: magnitude; 0: off; MAE fine-tunes with 9")                                               \
    X(REAL, randaugment_std, "data.randaugment_std", "0.5", 0, 10, "",                                       \
      "RandAugment: deviation of the magnitude")                                                             \
    X(INT, randaugment_ops, "data.randaugment_ops", "2", 1, 16, "",                                          \
      "RandAugment: operations drawn an image")                                                              \
    X(REAL, erase, "data.erase", "0", 0, 1, "", "random erasing: probability; MAE fine-tunes with 0.25")     \
    X(REAL, mixup, "data.mixup", "0", 0, 100, "", "mixup: alpha; 0: off; MAE fine-tunes with 0.8")           \
    X(REAL, cutmix, "data.cutmix", "0", 0, 100, "", "cutmix: alpha; 0: off; MAE fine-tunes with 1")          \
    X(REAL, mix_prob, "data.mix_prob", "1", 0, 1, "", "share of the batches that are mixed")                 \
    X(REAL, mix_switch, "data.mix_switch", "0.5", 0, 1, "", "share of cutmix where both are on")             \
    X(REAL, smoothing, "data.smoothing", "0", 0, 0.9, "",                                                    \
      "label smoothing, with or without mixup and cutmix")                                                   \
    X(REAL3, mean, "data.mean", "[0.485, 0.456, 0.406]", 0, 1, "", "of red, green, blue; taken off")         \
    X(REAL3, std, "data.std", "[0.229, 0.224, 0.225]", 1e-3, 10, "", "of red, green, blue; divided by")      \
    X(REAL, eval_crop, "data.eval_crop", "0", 0, 1, "",                                                      \
      "evaluation: side of the centre crop / short side; 0: 0.875 up to 224 pixels, above 1 (MAE)")          \
    X(CHOICE, corrupt, "data.corrupt", "\"skip\"", 0, 0, "skip|stop",                                        \
      "an image that cannot be read: warn and take another in its place, or stop the run")                   \
    X(REAL, corrupt_max, "data.corrupt_max", "0.01", 0, 1, "",                                               \
      "skip: the run stops above this share of the images")                                                  \
    X(BOOL, drop_last, "data.drop_last", "true", 0, 0, "", "training: leave out what does not fill a batch") \
    X(INT, max_pixels, "data.max_pixels", "268435456", 1, 4e9, "", "larger images are not read")

typedef struct DataSettings {
    RECIPE_MEMBERS(DATA_FIELDS)
} DataSettings;

extern const RecipeTable data_table;

/* What the ranges of single fields cannot say: crop_min <= crop_max and the like. */
bool data_settings_check(const DataSettings *s, Error *e);

#endif
