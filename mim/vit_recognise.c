#include "mim/vit_recognise.h"

#include "mim/vit.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const SafeEntry *weights_shaped(const Weights *w, const char *name, int ndim) {
    const SafeEntry *x = weights_find(w, name);
    return x && x->ndim == ndim ? x : NULL;
}

/* Layer scale, registers, a norm before the blocks ...: with them the numbers would come out otherwise. */
static bool is_odd(const char *name) {
    static const char *const more[] = {"dist_token",  "reg_token",  "norm_pre.",
                                       "pre_logits.", "attn_pool.", "head_dist."};
    static const char *const inside[] = {"norm1.weight",  "norm1.bias",       "attn.qkv.weight",
                                         "attn.qkv.bias", "attn.proj.weight", "attn.proj.bias",
                                         "norm2.weight",  "norm2.bias",       "mlp.fc1.weight",
                                         "mlp.fc1.bias",  "mlp.fc2.weight",   "mlp.fc2.bias"};
    for (int i = 0; i < COUNT(more); i++)
        if (strncmp(name, more[i], strlen(more[i])) == 0) return true;
    if (strncmp(name, "blocks.", 7) != 0 && strncmp(name, "decoder_blocks.", 15) != 0) return false;
    const char *rest = strchr(strchr(name, '.') + 1, '.');
    for (int i = 0; rest && i < COUNT(inside); i++)
        if (strcmp(rest + 1, inside[i]) == 0) return false;
    return true;
}

/* The preset it is, or else a name that says its numbers. */
static void name_guess(VitGuess *g) {
    static const char *const size[VIT_SIZES] = {"micro", "tiny", "small", "base", "large", "huge"},
                             *const letter[VIT_SIZES] = {"micro", "Ti", "S", "B", "L", "H"};
    Error ignored;
    g->size = "base";
    g->heads = g->dim % 64 == 0 ? g->dim / 64 : 0;
    snprintf(g->name, sizeof g->name, "ViT/%" PRId64 " of width %" PRId64 " and depth %" PRId64, g->patch,
             g->dim, g->depth);
    for (int i = 0; i < VIT_SIZES; i++) {
        VitSettings set = {.size = i, .image_size = g->image_size, .patch = g->patch};
        if (!vit_resolve(&set, &ignored) || set.dim != g->dim || set.depth != g->depth) continue;
        g->size = size[i];
        g->heads = set.heads;
        snprintf(g->name, sizeof g->name, "ViT-%s/%" PRId64, letter[i], g->patch);
    }
}

bool vit_recognise(const Weights *w, VitGuess *out) {
    const SafeEntry *patch = weights_shaped(w, "patch_embed.proj.weight", 4),
                    *token = weights_shaped(w, "cls_token", 3), *table = weights_shaped(w, "pos_embed", 3),
                    *qkv = weights_shaped(w, "blocks.0.attn.qkv.weight", 2);
    *out = (VitGuess){0};
    if (!patch || !token || !table || !qkv) return false;
    int64_t d = patch->dim[0], side = patch->dim[2], tokens = weights_find(w, "dist_token") ? 2 : 1;
    int64_t places = table->dim[1] - tokens, grid = places > 0 ? llround(sqrt((double)places)) : 0;
    if (patch->dim[1] != 3 || patch->dim[3] != side || side < 1 || side > 256 || d < 1 || d > 8192 ||
        token->dim[2] != d || table->dim[0] != 1 || table->dim[2] != d || grid < 1 || grid > 4096 ||
        grid * grid != places || qkv->dim[0] != 3 * d || qkv->dim[1] != d)
        return false;
    *out =
        (VitGuess){.patch = side, .dim = d, .image_size = grid * side, .depth = weights_blocks(w, "blocks")};
    name_guess(out);
    for (int64_t i = 0; i < weights_count(w) && !out->odd; i++)
        if (is_odd(weights_at(w, i)->name)) out->odd = weights_at(w, i)->name;
    return true;
}

void vit_guess_put(JsonWriter *w, const VitGuess *g) {
    json_put_open(w, "model", '{');
    json_put_text(w, "size", g->size);
    json_put_int(w, "image_size", g->image_size);
    json_put_int(w, "patch", g->patch);
    json_put_int(w, "dim", g->dim);
    json_put_int(w, "depth", g->depth);
    json_put_int(w, "heads", g->heads);
}
