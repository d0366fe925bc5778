#include "segment/recognise.h"

#include "core/json.h"
#include "segment/image_encoder.h"
#include "segment/mask_decoder.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *size, *what;
} encoder[SAM_SIZES] = {
    [SAM_MICRO] = {"micro", "micro"}, [SAM_TINY] = {"tiny", "TinyViT"}, [SAM_SMALL] = {"small", "small"},
    [SAM_BASE] = {"base", "ViT-B"},   [SAM_LARGE] = {"large", "ViT-L"}, [SAM_HUGE] = {"huge", "ViT-H"},
};

/* What tells a model apart may be missing itself, of this shape or not there: import lists it. */
static bool shaped(const Weights *w, const char *name, const int64_t dim[4]) {
    const SafeEntry *x = weights_find(w, name);
    return !x || (x->ndim == 4 && memcmp(x->dim, dim, 4 * sizeof *dim) == 0);
}

/* MobileSAM's TinyViT-5M: 64 channels at its stem, 320 before its neck. */
static bool is_tiny(const Weights *w) {
    return weights_have(w, "image_encoder.layers.") &&
           shaped(w, "image_encoder.layers.0.blocks.0.conv1.c.weight", (int64_t[]){256, 64, 1, 1}) &&
           shaped(w, "image_encoder.neck.0.weight", (int64_t[]){256, 320, 1, 1});
}

/* The size of the encoder, and the side of the image it sees; -1: one that Lethe does not have. */
static int size_of(const Weights *w, int64_t *side) {
    const SafeEntry *table = weights_find(w, "image_encoder.pos_embed");
    int64_t depth = weights_blocks(w, "image_encoder.blocks"), grid = 64;
    *side = 16 * grid;
    if (is_tiny(w)) return SAM_TINY;
    if (table && (table->ndim != 4 || table->dim[1] < 1 || table->dim[1] > 256)) return -1;
    if (table) *side = 16 * (grid = table->dim[1]);
    for (int i = 0; i < SAM_SIZES; i++) {
        int64_t dim = sam_encoder_dim((SamSize)i);
        if (i != SAM_TINY && depth == sam_encoder_depth((SamSize)i) &&
            shaped(w, "image_encoder.pos_embed", (int64_t[]){1, grid, grid, dim}) &&
            shaped(w, "image_encoder.patch_embed.proj.weight", (int64_t[]){dim, 3, 16, 16}))
            return i;
    }
    return -1;
}

static bool is_hq(const Weights *w) {
    for (int64_t i = 0; i < weights_count(w); i++)
        if (mask_decoder_hq(weights_at(w, i)->name)) return true;
    return false;
}

static void put_recipe(TaskGuess *out, int size, int64_t side, bool hq) {
    JsonWriter w = json_writer(out->recipe, sizeof out->recipe, 0);
    json_put_open(&w, NULL, '{');
    json_put_text(&w, "task", "segment");
    json_put_open(&w, "model", '{');
    json_put_text(&w, "size", encoder[size].size);
    json_put_int(&w, "image_size", side);
    json_put_bool(&w, "hq", hq);
    json_put_close(&w, '}');
    json_put_close(&w, '}');
}

bool sam_recognise(const Weights *w, TaskGuess *out) {
    int64_t side;
    if (!weights_have(w, "mask_decoder.") || !weights_have(w, "image_encoder.")) return false;
    bool hq = is_hq(w);
    int size = size_of(w, &side);
    out->recipe[0] = '\0';
    if (size < 0) {
        snprintf(out->what, sizeof out->what, "%s, with an image encoder that Lethe does not have",
                 hq ? "HQ-SAM" : "SAM");
        return true;
    }
    if (size == SAM_TINY)
        snprintf(out->what, sizeof out->what, "%s (TinyViT)", hq ? "Light HQ-SAM" : "MobileSAM");
    else
        snprintf(out->what, sizeof out->what, "%s %s", hq ? "HQ-SAM" : "SAM", encoder[size].what);
    put_recipe(out, size, side, hq);
    return true;
}
