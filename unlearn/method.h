/* method: one way to forget. Each is one file that fills in a row; unlearn/methods.c lists them in the order
 * of UNLEARN_METHODS. */
#ifndef LETHE_UNLEARN_METHOD_H
#define LETHE_UNLEARN_METHOD_H

#include "unlearn/certificate_facts.h"
#include "unlearn/unlearn.h"

typedef enum {
    NEEDS_RETAIN = 1,   /* retained samples */
    NEEDS_FORGET = 2,   /* the forgotten samples themselves */
    NEEDS_LABELS = 4,   /* classes: outputs are their logits */
    NEEDS_OUTSIDE = 8,  /* images of something else */
    NEEDS_DECODER = 16, /* a model that encodes and decodes (TaskClass.latent) */
} MethodNeeds;

struct Method {
    const char *name;   /* as in unlearn.method */
    const char *title;  /* "SalUn" */
    const char *source; /* the paper, its year */
    const char *about;  /* one line: what it does */
    unsigned needs;
    CertificateClaim claim;
    const RecipeTable *table; /* its settings; NULL: none */
    bool (*run)(Unlearn *u, const void *settings, Error *e);
    /* Samples that go forward and backward, roughly (a forward pass alone counts a third): for --dry-run. */
    double (*cost)(const Unlearn *u, const void *settings);
    /* Another method that it runs, with that one's settings; NULL: none. */
    const Method *(*then)(const void *settings);
};

extern const Method *const unlearn_methods[]; /* NULL-terminated */

const Method *method_find(const char *name); /* NULL: none is called so */

/* What retraining, with these settings, begins with; "": random weights. */
const char *retrain_init(const void *settings);

/* Can it be used here? Else an error that says what is missing and how to give it. */
bool method_check(const Method *m, const Unlearn *u, Error *e);

/* Runs it, from the weights as they came in; on error they are back. May be called again. */
bool method_run(const Method *m, Unlearn *u, const void *settings, Error *e);

#endif
