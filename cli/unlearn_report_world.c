#include "cli/unlearn_report_world.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { REMAINS_MOST = 3 };

/* The run that a checkpoint is of: what stands before /checkpoints/. False: it lies by itself. */
static bool run_of(const char *checkpoint, char out[FILE_PATH]) {
    const char *at = NULL;
    for (const char *p = checkpoint; (p = strstr(p, "/checkpoints/")); p++) at = p;
    if (!at || (size_t)(at - checkpoint) >= FILE_PATH) return false;
    snprintf(out, FILE_PATH, "%.*s", (int)(at - checkpoint), checkpoint);
    return true;
}

static int remains_make(ReportRemain out[REMAINS_MOST], char run[FILE_PATH], const World *w) {
    const char *checkpoint = checkpoint_path(w->checkpoint);
    int n = 0;
    out[n++] = (ReportRemain){checkpoint, "the weights before, which know the samples"};
    if (run_of(checkpoint, run))
        out[n++] = (ReportRemain){run, "the run that made them: its other checkpoints with the optimizer's "
                                       "state, its log, and the manifest that names the samples"};
    if (w->set[SET_FORGET])
        out[n++] = (ReportRemain){w->setup.train_set->source,
                                  "the forgotten samples themselves, among the training data"};
    return n;
}

static const char *now(char out[32]) {
    struct tm utc;
    time_t t = time(NULL);
    if (t == (time_t)-1 || !gmtime_r(&t, &utc) || strftime(out, 32, "%Y-%m-%d %H:%M UTC", &utc) == 0)
        return NULL;
    return out;
}

bool report_world_write(const char *folder, const World *w, const AuditSet *s, const ReportWork *work,
                        Error *e) {
    char path[FILE_PATH], run[FILE_PATH], when[32];
    ReportRemain remain[REMAINS_MOST];
    UnlearnReport r = {.audits = s,
                       .audit = &w->setup.audit,
                       .method = work->method,
                       .asked = work->asked->item,
                       .asks = work->asked->count,
                       .trained = w->manifest->count,
                       .whole = w->unlearn.whole,
                       .task = w->setup.task.class->name,
                       .recipe = w->setup.text,
                       .when = now(when),
                       .unlearn_seconds = work->unlearn_seconds,
                       .audit_seconds = work->audit_seconds,
                       .updates = work->updates,
                       .class_name = w->setup.task.class_name,
                       .names = w->setup.task.names,
                       .pictures = work->pictures,
                       .remain = remain,
                       .remains = remains_make(remain, run, w)};
    memcpy(r.count, w->unlearn.count, sizeof r.count);
    return file_join(path, sizeof path, folder, "report.html", e) && unlearn_report_write(path, &r, e);
}
