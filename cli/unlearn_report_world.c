#include "cli/unlearn_report_world.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* What the files of the old state are, by their roles in the record. */
static const char *role_text(const char *role) {
    static const struct {
        const char *role, *text;
    } known[] = {
        {"checkpoint", "weights from before"},
        {"ema", "averaged weights from before"},
        {"optimizer", "the optimizer's state: running means of gradients, of the forgotten samples, too"},
        {"manifest", "the list of all samples, the forgotten among them"}};
    for (int i = 0; i < COUNT(known); i++)
        if (!strcmp(known[i].role, role)) return known[i].text;
    return "weights from before, as exported";
}

/* The files that the record lists, or the checkpoint alone; then the samples themselves. mem_free. */
static ReportRemain *remains_make(int *count, const World *w, const Record *record, Error *e) {
    int64_t files = record ? record->olds : 0;
    ReportRemain *out = mem_get((size_t)(files + 2) * sizeof *out);
    int n = 0;
    if (!out) {
        error_memory(e, (size_t)(files + 2) * sizeof *out);
        return NULL;
    }
    for (int64_t i = 0; i < files; i++)
        out[n++] = (ReportRemain){record->old[i].path, role_text(record->old[i].role)};
    if (!files) out[n++] = (ReportRemain){checkpoint_path(w->checkpoint), "the model before"};
    if (w->set[SET_FORGET])
        out[n++] = (ReportRemain){w->setup.train_set->source,
                                  "the forgotten samples themselves, among the training data"};
    *count = n;
    return out;
}

static const char *now(char out[32]) {
    struct tm utc;
    time_t t = time(NULL);
    if (t == (time_t)-1 || !gmtime_r(&t, &utc) || strftime(out, 32, "%Y-%m-%d %H:%M UTC", &utc) == 0)
        return NULL;
    return out;
}

bool report_world_write(const char *path, const World *w, const AuditSet *s, const ReportWork *work,
                        Error *e) {
    char when[32];
    int remains;
    ReportRemain *remain = remains_make(&remains, w, work->record, e);
    if (!remain) return false;
    UnlearnReport r = {.audits = s,
                       .audit = &w->setup.audit,
                       .method = work->method,
                       .began_with = work->record ? work->record->first.count : 0,
                       .asked = work->asked ? work->asked->item : NULL,
                       .asks = work->asked ? work->asked->count : 0,
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
                       .remains = remains};
    memcpy(r.count, w->unlearn.count, sizeof r.count);
    bool fine = unlearn_report_write(path, &r, e);
    mem_free(remain);
    return fine;
}
