#include "cli/audit_set.h"

#include "core/comm.h"
#include "core/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

bool audit_set_before(AuditSet *s, const World *w, Unlearn *u, Error *e) {
    const Params *p = &u->task->params;
    size_t bytes = (size_t)p->values * sizeof(real);
    real *kept = mem_get(bytes);
    if (!comm_agree(kept ? true : error_memory(e, bytes), e)) {
        mem_free(kept);
        return false;
    }
    memcpy(kept, p->value, bytes);
    unlearn_restore(u);
    bool fine = audit_measure(&s->before, u, &w->setup.audit, NULL, e);
    memcpy(p->value, kept, bytes);
    mem_free(kept);
    return fine;
}

static bool add(Audit *list, int *count, const char *what, const AuditSet *s, const World *w, Unlearn *u,
                double seconds, Error *e) {
    if (*count == AUDIT_SEEDS) return error_set(e, ERROR_LIMIT, "more than %d models %s", AUDIT_SEEDS, what);
    if (!audit_measure(&list[*count], u, &w->setup.audit, &s->before, e)) return false;
    if (seconds > 0) list[*count].figure[FIGURE_seconds] = (Interval){seconds, NAN, NAN};
    (*count)++;
    return true;
}

bool audit_set_after(AuditSet *s, const World *w, Unlearn *u, double seconds, Error *e) {
    return add(s->after, &s->afters, "after", s, w, u, seconds, e);
}

bool audit_set_reference(AuditSet *s, const World *w, Unlearn *u, double seconds, Error *e) {
    return add(s->reference, &s->references, "for reference", s, w, u, seconds, e);
}

/* What making a model took, where `lethe unlearn` made it: its own audit says so. 0: nobody does. */
static bool seconds_of(const char *path, double *seconds, Error *e) {
    char file[FILE_PATH];
    JsonFile *f = NULL;
    *seconds = 0;
    if (!file_join(file, sizeof file, path, "audit.json", e)) return false;
    if (file_kind(file) == FILE_NONE) return true;
    bool fine = json_load(&f, file, 1 << 20, e);
    Json j = fine ? json_get(json_get(json_get(json_root(f), "after"), "seconds"), "value") : (Json){0};
    fine = fine && (!json_exists(j) || json_number(j, 0, 1e12, seconds, e));
    json_close(f);
    return fine;
}

bool audit_set_load(World *w, const char *path, double *seconds, Error *e) {
    Checkpoint *c = NULL;
    char note[CHECKPOINT_NOTE];
    bool fine =
        checkpoint_open(&c, path, note, e) && setup_weights(&w->setup, c, e) && seconds_of(path, seconds, e);
    if (fine && note[0] && comm_first()) fprintf(stderr, "lethe: warning: %s\n", note);
    checkpoint_close(c);
    return comm_agree(fine, e);
}

/* What is said of a model beside each of n references, as its mean over them. */
static bool compare(Audit *a, const Unlearn *u, const Audit *before, const Audit *reference, int n,
                    Error *e) {
    static const Figure of[] = {FIGURE_gap, FIGURE_tow, FIGURE_ks, FIGURE_js, FIGURE_activation, FIGURE_rte};
    double sum[COUNT(of)] = {0};
    int some[COUNT(of)] = {0};
    if (!n) return audit_compare(a, u, before, NULL, e);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < COUNT(of); k++) a->figure[of[k]].value = NAN;
        if (!audit_compare(a, u, before, &reference[i], e)) return false;
        for (int k = 0; k < COUNT(of); k++) {
            double value = a->figure[of[k]].value;
            if (isnan(value)) continue;
            sum[k] += value;
            some[k]++;
        }
    }
    for (int k = 0; k < COUNT(of); k++)
        a->figure[of[k]] = (Interval){some[k] ? sum[k] / some[k] : NAN, NAN, NAN};
    return true;
}

static bool mean(Interval out[FIGURES], const Audit *list, int n, Error *e) {
    const Audit *at[AUDIT_SEEDS];
    for (int i = 0; i < n; i++) at[i] = &list[i];
    return n == 0 || audit_average(out, at, n, e);
}

bool audit_set_compare(AuditSet *s, const Unlearn *u, Error *e) {
    const Audit *before = &s->before, *all = s->reference;
    bool pairs = s->afters == s->references; /* each after has the reference of its seed */
    for (int i = 0; i < s->afters; i++)
        if (!compare(&s->after[i], u, before, pairs ? &all[i] : all, pairs ? 1 : s->references, e))
            return false;
    for (int i = 0; i < s->references; i++)
        if (!compare(&s->reference[i], u, before, NULL, 0, e)) return false;
    if (!compare(&s->before, u, before, all, s->references, e)) return false;
    return mean(s->before_mean, &s->before, 1, e) && mean(s->after_mean, s->after, s->afters, e) &&
           mean(s->reference_mean, s->reference, s->references, e);
}

void audit_set_close(AuditSet *s) {
    audit_close(&s->before);
    for (int i = 0; i < s->afters; i++) audit_close(&s->after[i]);
    for (int i = 0; i < s->references; i++) audit_close(&s->reference[i]);
    *s = (AuditSet){0};
}

char *audit_set_json(const AuditSet *s, Error *e) {
    enum { ROOM = 1 << 16, PART = 1 << 14 };
    char *text = mem_get(ROOM), *part = mem_get(PART);
    if (!text || !part) {
        error_memory(e, ROOM);
        mem_free(text);
        mem_free(part);
        return NULL;
    }
    JsonWriter w = json_writer(text, ROOM, 0);
    const Interval *const figure[] = {s->before_mean, s->afters ? s->after_mean : NULL,
                                      s->references ? s->reference_mean : NULL};
    static const char *const name[] = {"before", "after", "reference"};
    json_put_open(&w, NULL, '{');
    json_put_text(&w, "score", s->before.score);
    json_put_int(&w, "seeds", s->afters);
    bool fine = true;
    for (int i = 0; i < COUNT(name) && fine; i++) {
        if (!figure[i])
            json_put_null(&w, name[i]);
        else if ((fine = audit_json(figure[i], part, PART)))
            json_put_raw(&w, name[i], part);
    }
    json_put_close(&w, '}');
    mem_free(part);
    if (fine && !w.full) return text;
    mem_free(text);
    error_set(e, ERROR_LIMIT, "the audit's figures do not fit");
    return NULL;
}

static void cell(const Interval *i) {
    char beyond[24];
    if (!i || isnan(i->value))
        printf(" %22s", "-");
    else if (audit_is_beyond(i) && snprintf(beyond, sizeof beyond, ">%.4g", i->value) > 0)
        printf(" %9s %12s", beyond, "");
    else if (isnan(i->lo))
        printf(" %9.4g %12s", i->value, "");
    else
        printf(" %9.4g [%4.4g, %4.4g]", i->value, i->lo, i->hi);
}

void audit_set_print(const AuditSet *s) {
    printf("\n%-20s %-22s %-22s %-22s\n", "", " before", " after", s->references ? " reference" : "");
    for (int f = 0; f < FIGURES; f++) {
        const Interval *b = &s->before_mean[f], *a = s->afters ? &s->after_mean[f] : NULL,
                       *r = s->references ? &s->reference_mean[f] : NULL;
        if (isnan(b->value) && (!a || isnan(a->value)) && (!r || isnan(r->value))) continue;
        printf("%-20s", figure_row[f].name);
        cell(b);
        cell(a);
        if (r) cell(r);
        printf(" %s\n", figure_unit((Figure)f, s->before.share));
    }
}
