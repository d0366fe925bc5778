/* unlearn_pictures: some of the forgotten samples for the report, as the model sees them, and, where a task
 * draws what it makes of a picture, that by the models before, after and for reference. What a classifier
 * says of them is in the audits. */
#ifndef LETHE_CLI_UNLEARN_PICTURES_H
#define LETHE_CLI_UNLEARN_PICTURES_H

#include "cli/unlearn_world.h"

typedef enum { REPORT_BEFORE, REPORT_AFTER, REPORT_REFERENCE, REPORT_MODELS } ReportModel;

typedef struct ReportSample {
    int64_t id;
    char name[128];               /* the end of its path; from outside */
    Picture image;                /* as the model gets it; where tasks draw, pixel is NULL */
    Picture drawn[REPORT_MODELS]; /* pixel NULL: not drawn */
    char (*note)[TASK_NOTE];      /* [REPORT_MODELS] what the task found, as its draw tells */
} ReportSample;

enum { PICTURES_SEEN = 24, PICTURES_DRAWN = 4 }; /* at most, of classifiers and of tasks that draw */

typedef struct ReportPictures {
    ReportSample sample[PICTURES_SEEN];
    int count;
} ReportPictures;

/* Of the weights in u->task; `which` model they are. Evenly spread over the forgotten; nothing where there
 * are none. Collective; rank 0 has the pictures. */
bool pictures_take(ReportPictures *p, const World *w, Unlearn *u, ReportModel which, Error *e);
/* The same for the weights that came in; u->task is left as it is. */
bool pictures_take_before(ReportPictures *p, const World *w, Unlearn *u, Error *e);
void pictures_close(ReportPictures *p); /* a zeroed one is fine */

#endif
