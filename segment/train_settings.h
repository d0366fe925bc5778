/* train_settings: the keys of training and evaluation of a promptable segmenter. */
#ifndef LETHE_SEGMENT_TRAIN_SETTINGS_H
#define LETHE_SEGMENT_TRAIN_SETTINGS_H

#include "core/recipe.h"

/* In the order of the choices. */
typedef enum { SEGMENT_ALL, SEGMENT_DECODER, SEGMENT_HQ } SegmentTrain;

/* Which mask of an HQ-SAM is judged. In the order of the choices. */
typedef enum { EVAL_SUM, EVAL_SAM, EVAL_HQ } EvalMask;

/* What a sample of HQ training is prompted with. */
typedef enum { HQ_BOX, HQ_POINTS, HQ_MASK, HQ_KINDS } HqKind;

enum { SEGMENT_ROUNDS = 64, SEGMENT_CLICKS = 64 }; /* most of each */

#define SEGMENT_FIELDS(X)                                                                                    \
    X(CHOICE, train, "segment.train", "\"all\"", 0, 0, "all|decoder|hq",                                     \
      "all of SAM; prompt encoder and mask decoder; or what HQ-SAM adds, with all else as it is")            \
    X(INT, rounds, "segment.rounds", "11", 1, SEGMENT_ROUNDS, "",                                            \
      "prompts in turn to each mask: the first, then clicks on errors; of 3 and more the last has none, "    \
      "and, "                                                                                                \
      "of 5 and more, one at random")                                                                        \
    X(INT, loss_side, "segment.loss_side", "0", 0, 4096, "",                                                 \
      "masks are compared at this side, which divides model.image_size; 0: a quarter of it")                 \
    X(REAL, focal_weight, "segment.focal_weight", "20", 0, 1e6, "", "of the focal loss")                     \
    X(REAL, focal_alpha, "segment.focal_alpha", "0.25", -1, 1, "",                                           \
      "focal loss: weight of what is inside; below 0: inside and outside count alike")                       \
    X(REAL, focal_gamma, "segment.focal_gamma", "2", 0, 100, "", "focal loss: power of the error")           \
    X(REAL, dice_weight, "segment.dice_weight", "1", 0, 1e6, "", "of the dice loss")                         \
    X(REAL, iou_weight, "segment.iou_weight", "1", 0, 1e6, "", "of the squared error of the predicted IoU")  \
    X(REAL, box_share, "segment.box_share", "0.5", 0, 1, "",                                                 \
      "share of the masks whose first prompt is a box; the others' is a point")                              \
    X(REAL, box_noise, "segment.box_noise", "0.1", 0, 10, "",                                                \
      "deviation of a box's corners, as a share of its side")                                                \
    X(REAL, box_noise_max, "segment.box_noise_max", "20", 0, 1e4, "", "the same, at most so many pixels")    \
    X(REAL, hq_box, "segment.hq_box", "1", 0, 1, "", "hq: how often the prompt is a box, in parts")          \
    X(REAL, hq_points, "segment.hq_points", "1", 0, 1, "", "hq: points inside")                              \
    X(REAL, hq_mask, "segment.hq_mask", "1", 0, 1, "", "hq: a mask with a noisy border")                     \
    X(INT, clicks, "segment.clicks", "10", 1, 64, "", "hq: how many points")                                 \
    X(INT, points, "segment.points", "12544", 4, 1e6, "", "hq: places where masks are compared")             \
    X(REAL, oversample, "segment.oversample", "3", 1, 100, "",                                               \
      "hq: so many times the points are drawn, of which the least certain stay")                             \
    X(REAL, uncertain, "segment.uncertain", "0.75", 0, 1, "",                                                \
      "hq: share of the points that are the least certain; the others are any")                              \
    X(INT, eval_clicks, "segment.eval_clicks", "5", 0, SEGMENT_CLICKS, "",                                   \
      "evaluation: simulated clicks a mask; 0: boxes only")                                                  \
    X(CHOICE, eval_mask, "segment.eval_mask", "\"sum\"", 0, 0, "sum|sam|hq",                                 \
      "evaluation of an HQ-SAM: its mask added to SAM's, as in the reference; SAM's alone; HQ's alone")

typedef struct SegmentSettings {
    RECIPE_MEMBERS(SEGMENT_FIELDS)
} SegmentSettings;

extern const RecipeTable segment_table;

#endif
