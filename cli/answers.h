/* answers: what a classifier said of images, read from the predictions.jsonl of lethe predict, and counted:
 * how many are right, in all and of each class, and which classes it takes for which. One object a line:
 *     {"path": "test/a/7.jpg", "label": "a", "predicted": "b", "probability": 0.83}
 * predicted may be a number where the classes have no names; label null or missing: not known, then neither
 * right nor wrong. */
#ifndef LETHE_CLI_ANSWERS_H
#define LETHE_CLI_ANSWERS_H

#include "core/base.h"

typedef struct Answer {
    const char *path, *predicted;
    const char *label;                /* NULL: not known */
    int label_class, predicted_class; /* index into class; -1: label not known */
    double probability;               /* of what was predicted */
    bool right;
} Answer;

typedef struct AnswerClass {
    const char *name;
    int64_t count, right; /* images that truly are of it; those of them that were recognised */
} AnswerClass;

typedef struct AnswerPair { /* wrong answers of one kind */
    int label_class, predicted_class;
    int64_t count;
} AnswerPair;

typedef struct Answers {
    Answer *list; /* in the file's order */
    int64_t count, known, right;
    AnswerClass *class; /* by name */
    int classes;
    AnswerPair *pair; /* most frequent first */
    int64_t pairs;
    char *pool; /* behind the texts */
} Answers;

/* Errors name file and line. At most 256 MiB. */
bool answers_open(Answers *out, const char *path, Error *e);
void answers_close(Answers *a); /* a zeroed one is fine */

/* Up to `most` indices into list. Wrong: the most confident first. Right: spread over the file, so over the
 * classes. *count is how many; false only without memory. mem_free(*out). */
bool answers_wrong(const Answers *a, int most, int64_t **out, int *count, Error *e);
bool answers_right(const Answers *a, int most, int64_t **out, int *count, Error *e);

#endif
