#include "cli/curve.h"
#include "cli/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- what was set ---- */

/* {path} is the recipe's value, {path%} a share as a percentage. The clauses between semicolons stand for
 * themselves: one whose value is missing, 0, false or empty is left out, a line without clauses too. */
static const struct {
    const char *label, *text;
} setting[] = {
    {"Purpose", "{about}"},
    {"Model", "ViT, preset {model.size};{model.image_size} pixels a side;patches of {model.patch};width "
              "{model.dim};{model.depth} blocks;{model.heads} heads"},
    {"Decoder", "width {model.decoder_dim};{model.decoder_depth} blocks;{model.decoder_heads} heads"},
    {"Masking", "{model.mask_ratio%} of the patches"},
    {"Training data", "{data.train};the first {data.per_class_train} images of each class"},
    {"Test data", "{data.test}"},
    {"Augmentation",
     "{data.crop} crops;of at least {data.crop_min%} of the area;mirrored {data.hflip%} of the time;colour "
     "jitter "
     "{data.jitter};RandAugment {data.randaugment};erasing {data.erase%};mixup {data.mixup};cutmix "
     "{data.cutmix}"},
    {"Batch", "{train.batch} images;in {train.accumulate} parts an update"},
    {"Length", "{train.epochs} epochs;at most {train.steps} updates"},
    {"Optimizer",
     "{optim.name};base rate {optim.blr};rate {optim.lr};weight decay {optim.weight_decay};layer decay "
     "{optim.layer_decay};gradients clipped at {optim.clip};averaged by {optim.ema}"},
    {"Schedule", "{schedule.name};{schedule.warmup_epochs} epochs of warm-up;down to {schedule.min_lr}"},
    {"Regularisation", "drop path {model.drop_path%};label smoothing {data.smoothing%}"},
    {"Arithmetic", "{dtype};on {device}"},
    {"Seed", "{seed}"},
};

/* Values that say nothing: factors of 1, and the base rate where the rate itself is given. */
static bool is_noise(const History *run, const char *path, double value) {
    if (!strcmp(path, "optim.blr")) return history_number(run, "optim.lr") > 0;
    return (!strcmp(path, "train.accumulate") || !strcmp(path, "optim.layer_decay")) && value == 1;
}

/* Writes one clause; false, and nothing written, if its value says nothing. */
static bool put_clause(Html *h, const History *run, const char *text, size_t length, const char *before) {
    char path[HISTORY_NAME], number[HTML_NUMBER];
    const char *open = memchr(text, '{', length), *close = memchr(text, '}', length);
    bool percent = close[-1] == '%';
    snprintf(path, sizeof path, "%.*s", (int)(close - open - 1 - percent), open + 1);
    const char *word = history_word(run, path);
    double value = history_number(run, path);
    bool seed = !strcmp(path, "seed"); /* 0 is as good as any */
    if (word ? !word[0] : !isfinite(value) || (value == 0 && !seed) || is_noise(run, path, value))
        return false;
    html_put(h, "%s%.*s", before, (int)(open - text), text);
    if (word)
        html_text(h, word);
    else
        html_put(h, "%s", percent ? html_percent(number, 100 * value) : html_number(number, value));
    html_put(h, "%.*s", (int)(text + length - close - 1), close + 1);
    return true;
}

static void put_settings(Html *h, const History *run) {
    char number[HTML_NUMBER];
    html_put(h, "<div class=\"card settings\"><h3>Recipe</h3><dl>\n");
    for (int i = 0; i < COUNT(setting); i++) {
        char head[128];
        bool any = false;
        snprintf(head, sizeof head, "<div><dt>%s</dt><dd>", setting[i].label);
        for (const char *at = setting[i].text; *at;) {
            size_t n = strcspn(at, ";");
            any |= put_clause(h, run, at, n, any ? ", " : head);
            at += n + (at[n] == ';');
        }
        if (any) html_put(h, "</dd></div>\n");
    }
    if (run->parameters)
        html_put(h, "<div><dt>Parameters</dt><dd>%s</dd></div>\n",
                 html_number(number, (double)run->parameters));
    html_put(h, "</dl></div>\n");
}

/* ---- curves ---- */

/* Epochs are the better clock where there are several. */
static bool by_epoch(const History *run) {
    const Series *loss = history_series(run, "", "loss");
    return loss && loss->epoch[loss->count - 1] >= 2;
}

static CurveLine line_of(const Series *s, bool epochs, const char *name, CurveStyle style) {
    if (!s) return (CurveLine){.name = name};
    return (CurveLine){
        .name = name, .x = epochs ? s->epoch : s->step, .y = s->value, .count = s->count, .style = style};
}

static void put_curves(Html *h, const History *run) {
    bool epochs = by_epoch(run);
    const char *x_label = epochs ? "epoch" : "update";
    CurveLine loss[] = {line_of(history_series(run, "", "loss"), epochs, "training", CURVE_NOISY),
                        line_of(history_series(run, NULL, "loss"), epochs, "test", CURVE_DOTS)};
    CurveLine top[] = {line_of(history_series(run, NULL, "top1"), epochs, "top 1", CURVE_DOTS),
                       line_of(history_series(run, NULL, "top5"), epochs, "top 5", CURVE_DOTS)};
    CurveLine iou[] = {line_of(history_series(run, NULL, "miou_box"), epochs, "box", CURVE_DOTS),
                       line_of(history_series(run, NULL, "mbiou_box"), epochs, "box, borders", CURVE_DOTS),
                       line_of(history_series(run, NULL, "miou_1"), epochs, "1 click", CURVE_DOTS),
                       line_of(history_series(run, NULL, "miou_3"), epochs, "3 clicks", CURVE_DOTS),
                       line_of(history_series(run, NULL, "miou_5"), epochs, "5 clicks", CURVE_DOTS)};
    CurveLine lr[] = {line_of(history_series(run, "", "lr"), epochs, "learning rate", CURVE_LINE)};
    curve_draw(h, &(Curve){.title = "Loss", .x_label = x_label, .line = loss, .lines = 2});
    curve_draw(h, &(Curve){.title = "Test accuracy",
                           .x_label = x_label,
                           .line = top,
                           .lines = 2,
                           .from_zero = true,
                           .top = 100,
                           .percent = true});
    curve_draw(h, &(Curve){.title = "Mean IoU of the test masks",
                           .x_label = x_label,
                           .line = iou,
                           .lines = COUNT(iou),
                           .from_zero = true,
                           .top = 1});
    curve_draw(
        h, &(Curve){.title = "Learning rate", .x_label = x_label, .line = lr, .lines = 1, .from_zero = true});
}

/* ---- the section and the figures of a run ---- */

static const char *task_words(const History *run) {
    const char *task = history_word(run, "task");
    if (!task) return "Run";
    if (!strcmp(task, "mae")) return "Pretraining";
    if (!strcmp(task, "classify")) return "Classifier";
    if (!strcmp(task, "segment")) return "Segmenter";
    return task;
}

void report_run_name(Html *h, const History *run) {
    size_t n = strlen(run->folder);
    while (n > 1 && run->folder[n - 1] == '/') n--;
    char folder[FILE_PATH];
    snprintf(folder, sizeof folder, "%.*s", (int)n, run->folder);
    html_text(h, task_words(run));
    html_put(h, " <code>");
    html_text(h, file_base(folder));
    html_put(h, "</code>");
}

void report_run(Html *h, const History *run) {
    html_put(h, "<section><h2>");
    report_run_name(h, run);
    html_put(h, "</h2>\n");
    if (!history_series(run, "", "loss")) html_put(h, "<p>No update has been logged yet.</p>\n");
    html_put(h, "<div class=\"grid\">\n");
    put_curves(h, run);
    put_settings(h, run);
    html_put(h, "</div>\n<details><summary>The complete recipe</summary><pre>");
    html_text(h, run->recipe_text);
    html_put(h, "</pre></details></section>\n");
}

void report_tile(Html *h, const char *value, const char *about) {
    html_put(h, "<div class=\"tile\"><strong>%s</strong><span>", value);
    html_text(h, about);
    html_put(h, "</span></div>\n");
}

void report_run_tile(Html *h, const History *run) {
    char value[HTML_NUMBER];
    const Series *top1 = history_series(run, NULL, "top1"), *loss = history_series(run, "", "loss");
    const Series *iou = history_series(run, NULL, "miou_box");
    const char *task = history_word(run, "task");
    if (iou)
        report_tile(h, html_number(value, series_last(iou)), "mean IoU of test masks, prompted by a box");
    else if (top1)
        report_tile(h, html_percent(value, series_last(top1)), "of the test images recognised");
    else if (loss)
        report_tile(h, html_number(value, series_end(loss)),
                    task && !strcmp(task, "mae") ? "reconstruction loss at the end" : "loss at the end");
}

/* Accuracy, or the mean IoU from a box: "95.0 %", or "95.0 % (best 96.0 %)"; a dash for a run without test.
 */
static void put_accuracy(Html *h, const History *run) {
    char value[HTML_NUMBER];
    const Series *s = history_series(run, NULL, "top1");
    double whole = 1;
    if (!s) s = history_series(run, NULL, "miou_box"), whole = 100;
    double last = s ? whole * series_last(s) : NAN, best = last;
    for (int64_t i = 0; s && i < s->count; i++)
        if (whole * s->value[i] > best) best = whole * s->value[i];
    html_put(h, "<td>%s", html_percent(value, last));
    if (best > last) html_put(h, " (best %s)", html_percent(value, best));
    html_put(h, "</td>");
}

static void put_value(Html *h, double value) {
    char text[HTML_NUMBER];
    html_put(h, "<td>%s</td>", html_number(text, value));
}

void report_runs_table(Html *h, const History *run, int n) {
    static const char *const column[] = {
        "Run", "Test accuracy or mIoU", "Test loss", "Training loss", "Epochs", "Updates", "Images/s",
        "Time"};
    char text[HTML_NUMBER];
    html_put(h, "<div class=\"scroll\"><table><thead><tr>");
    for (int i = 0; i < COUNT(column); i++) html_put(h, "<th scope=\"col\">%s</th>", column[i]);
    html_put(h, "</tr></thead>\n<tbody>\n");
    for (int i = 0; i < n; i++) {
        const Series *loss = history_series(&run[i], "", "loss"),
                     *test = history_series(&run[i], NULL, "loss");
        double images, seconds;
        bool paced = history_pace(&run[i], &images, &seconds);
        html_put(h, "<tr><th scope=\"row\">");
        report_run_name(h, &run[i]);
        html_put(h, "</th>");
        put_accuracy(h, &run[i]);
        put_value(h, test ? series_last(test) : NAN);
        put_value(h, loss ? series_end(loss) : NAN);
        put_value(h, loss ? loss->epoch[loss->count - 1] : NAN);
        put_value(h, loss ? loss->step[loss->count - 1] : NAN);
        put_value(h, paced ? round(images / seconds) : NAN);
        html_put(h, "<td>%s</td></tr>\n", html_seconds(text, paced ? seconds : NAN));
    }
    html_put(h,
             "</tbody></table></div>\n<p class=\"small\">Training loss: mean of the last twentieth of the "
             "logged updates. Images/s and time: training alone, without evaluation and checkpoints.</p>\n");
}
