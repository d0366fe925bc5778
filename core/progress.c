#include "core/progress.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BAR_LEAST = 10, BAR_MOST = 40, LINE = 400 };

void progress_time(char out[32], double seconds) {
    if (!(seconds >= 0) || seconds > 1e9) {
        snprintf(out, 32, "?");
        return;
    }
    int64_t s = (int64_t)(seconds + 0.5), m = s / 60, h = m / 60, d = h / 24;
    int second = (int)(s % 60), minute = (int)(m % 60), hour = (int)(h % 24);
    if (d > 0)
        snprintf(out, 32, "%" PRId64 "d %02d:%02d:%02d", d, hour, minute, second);
    else if (h > 0)
        snprintf(out, 32, "%d:%02d:%02d", hour, minute, second);
    else
        snprintf(out, 32, "%d:%02d", minute, second);
}

void progress_line(char *out, size_t size, const Progress *p) {
    char total[32] = "", epochs[32] = "", rate[48] = "", left[32] = "?", loss[32];
    bool plain = fabs(p->loss) >= 0.001 && fabs(p->loss) < 100000;
    snprintf(loss, sizeof loss, plain || p->loss == 0 ? "%.4f" : "%.3e", p->loss);
    if (p->steps > 0) snprintf(total, sizeof total, "/%" PRId64, p->steps);
    if (p->epochs > 0) snprintf(epochs, sizeof epochs, "/%g", p->epochs);
    if (p->rate > 0)
        snprintf(rate, sizeof rate, p->rate < 100 ? "  %.1f images/s" : "  %.0f images/s", p->rate);
    progress_time(left, p->left);
    snprintf(out, size, "epoch %.2f%s  step %" PRId64 "%s  loss %s  lr %.2e%s%s%s", p->epoch, epochs, p->step,
             total, loss, p->lr, rate, p->left >= 0 ? "  ETA " : "", p->left >= 0 ? left : "");
}

/* The same without words, for a narrow terminal: "24.58/150  295/1800  loss 0.4465  lr 9.7e-04  751/s  2:08".
 */
static void short_line(char *out, size_t size, const Progress *p) {
    char left[32], epochs[32] = "";
    progress_time(left, p->left);
    if (p->epochs > 0) snprintf(epochs, sizeof epochs, "/%g", p->epochs);
    snprintf(out, size, "%.2f%s  %" PRId64 "/%" PRId64 "  loss %.4g  lr %.1e  %.*f/s  %s", p->epoch, epochs,
             p->step, p->steps, p->loss, p->lr, p->rate < 100, p->rate, left);
}

enum { FRAME = 3 /* two brackets and a space */ };

void progress_share(char *out, size_t size, int width, double share, const char *line) {
    char bar[BAR_MOST + 1] = "";
    int room = width - (int)strlen(line) - FRAME;
    if (room > BAR_MOST) room = BAR_MOST;
    if (room < BAR_LEAST) {
        snprintf(out, size, "%.*s", width > 0 ? width : 0, line);
        return;
    }
    int full = (int)((share < 0 ? 0 : share > 1 ? 1 : share) * room);
    memset(bar, ' ', (size_t)room);
    memset(bar, '#', (size_t)full);
    if (full < room) bar[full] = '>';
    snprintf(out, size, "[%s] %s", bar, line);
}

void progress_bar(char *out, size_t size, int width, const Progress *p) {
    char line[LINE];
    progress_line(line, sizeof line, p);
    if (p->steps <= 0) {
        snprintf(out, size, "%.*s", width > 0 ? width : 0, line);
        return;
    }
    if (width - (int)strlen(line) - FRAME < BAR_LEAST) short_line(line, sizeof line, p);
    progress_share(out, size, width, (double)p->step / (double)p->steps, line);
}
