#include "mim/recognise.h"

#include "mim/vit.h"
#include "mim/vit_recognise.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Known, but not one of ours. */
static bool unlike(const VitGuess *g, TaskGuess *out) {
    char shown[SAFE_NAME_TEXT];
    if (strcmp(g->odd ? g->odd : "", "dist_token") == 0)
        snprintf(out->what, sizeof out->what, "a distilled DeiT %.20s, whose dist_token Lethe's ViT lacks",
                 g->name);
    else if (g->odd)
        snprintf(out->what, sizeof out->what, "a %.20s with %.40s, which Lethe's ViT lacks", g->name,
                 safe_name_text(g->odd, shown));
    else
        snprintf(out->what, sizeof out->what, "a %.40s, whose heads cannot be told from shapes", g->name);
    out->recipe[0] = '\0';
    return true;
}

static JsonWriter recipe_begin(TaskGuess *out, const char *task, const VitGuess *g) {
    JsonWriter w = json_writer(out->recipe, sizeof out->recipe, 0);
    json_put_open(&w, NULL, '{');
    json_put_text(&w, "task", task);
    vit_guess_put(&w, g);
    return w;
}

static bool recipe_end(JsonWriter *w) {
    json_put_close(w, '}');
    json_put_close(w, '}');
    return !w->full;
}

/* Is the table of positions MAE's, which never trains? An encoder without decoder and head says no more. */
static bool has_sincos(const Weights *w, const VitGuess *g) {
    const SafeEntry *x = weights_find(w, "pos_embed");
    Error ignored;
    int64_t n = safe_entry_count(x);
    Tensor is = {.ndim = 3, .dtype = DT_F32, .dim = {1, x->dim[1], x->dim[2]}}, due = is;
    is.data = mem_get(tensor_bytes(&is));
    due.data = mem_get(tensor_bytes(&due));
    bool same =
        is.data && due.data && g->dim % 4 == 0 && weights_read_real(w, x, tensor_real(&is), n, &ignored);
    if (same) vit_sincos(&due, g->image_size / g->patch);
    for (int64_t i = 0; i < n && same; i++)
        same = fabs((double)(tensor_real(&is)[i] - tensor_real(&due)[i])) < 1e-3;
    mem_free(is.data);
    mem_free(due.data);
    return same;
}

bool mae_recognise(const Weights *w, TaskGuess *out) {
    VitGuess g;
    const SafeEntry *embed = weights_shaped(w, "decoder_embed.weight", 2);
    if (!vit_recognise(w, &g)) return false;
    if (!embed && (weights_find(w, "head.weight") || weights_find(w, "head.1.weight") ||
                   !weights_find(w, "norm.weight")))
        return false;
    if (g.odd || !g.heads || (embed && embed->dim[0] % 32)) return unlike(&g, out);
    if (!embed && !has_sincos(w, &g)) {
        snprintf(out->what, sizeof out->what, "a %.40s without a head; train --init takes it", g.name);
        out->recipe[0] = '\0';
        return true;
    }
    snprintf(out->what, sizeof out->what, "MAE %s, %s", g.name,
             embed ? "with its decoder" : "the encoder alone");
    JsonWriter r = recipe_begin(out, "mae", &g);
    if (embed) {
        json_put_int(&r, "decoder_dim", embed->dim[0]);
        json_put_int(&r, "decoder_depth", weights_blocks(w, "decoder_blocks"));
        json_put_int(&r, "decoder_heads", embed->dim[0] / 32); /* in every MAE a head of the decoder has 32 */
    }
    return recipe_end(&r);
}

bool classify_recognise(const Weights *w, TaskGuess *out) {
    VitGuess g;
    bool probe = weights_find(w, "head.0.running_mean") != NULL,
         mean = weights_find(w, "fc_norm.weight") != NULL;
    const SafeEntry *head = weights_shaped(w, probe ? "head.1.weight" : "head.weight", 2);
    if (!head || !vit_recognise(w, &g) || head->dim[1] != g.dim) return false;
    if (g.odd || !g.heads) return unlike(&g, out);
    snprintf(out->what, sizeof out->what, "%s %s for %" PRId64 " classes, from %s",
             probe  ? "linear probe of a"
             : mean ? "MAE's fine-tuned"
                    : "timm's or DeiT's",
             g.name, head->dim[0], mean ? "the mean token" : "the class token");
    JsonWriter r = recipe_begin(out, "classify", &g);
    json_put_text(&r, "pool", mean ? "mean" : "cls");
    if (probe) json_put_text(&r, "train", "probe");
    json_put_int(&r, "classes", head->dim[0]);
    return recipe_end(&r);
}
