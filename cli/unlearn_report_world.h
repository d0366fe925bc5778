/* unlearn_report_world: report.html of the world that lethe unlearn and lethe audit work in. */
#ifndef LETHE_CLI_UNLEARN_REPORT_WORLD_H
#define LETHE_CLI_UNLEARN_REPORT_WORLD_H

#include "cli/unlearn_record.h"
#include "cli/unlearn_report.h"

/* What the world does not know. */
typedef struct ReportWork {
    const Method *method;           /* NULL: the weights were made elsewhere */
    const OptionList *asked;        /* NULL: the page names nobody */
    const Record *record;           /* which knows the files that hold the old state; NULL: there is none */
    const ReportPictures *pictures; /* NULL: none are wanted */
    double unlearn_seconds, audit_seconds;
    int64_t updates;
} ReportWork;

/* Rank 0 alone. */
bool report_world_write(const char *path, const World *w, const AuditSet *s, const ReportWork *work,
                        Error *e);

#endif
