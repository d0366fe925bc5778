#include "core/optim.h"

#include <math.h>

RECIPE_TABLE(schedule_table, "Schedule", ScheduleSettings, SCHEDULE_FIELDS);

double schedule_lr(const ScheduleSettings *s, double lr, double epoch, double epochs) {
    if (epoch < s->warmup) return lr * epoch / s->warmup;
    for (int i = 0; s->kind == SCHEDULE_STEP && i < COUNT(s->drops); i++)
        if (s->drops[i] > 0 && epoch >= s->drops[i]) lr *= s->drop_factor;
    if (s->kind != SCHEDULE_COSINE || epochs <= s->warmup) return lr;
    double part = (epoch - s->warmup) / (epochs - s->warmup);
    return s->min_lr + (lr - s->min_lr) * 0.5 * (1 + cos(3.14159265358979323846 * part));
}
