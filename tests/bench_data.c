/* How fast one core turns JPEGs into training samples. Used by tests/bench_data.sh.
 *
 *     bench_data make PHOTOS OUT N    N photographs as OUT/K.jpg, 500 x 375, quality 90, and OUT/crops.txt: a
 * random resized crop for each, "K left top width height mirrored" bench_data run OUT SECONDS      crops,
 * resizes and normalises them from memory, over and over, with those very crops: prints images per second.
 * OUT/first.bin: the first samples, as floats that are value / 255 */
#include "data/augment.h"
#include "data/dataset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WIDTH = 500, HEIGHT = 375, SIZE = 224, QUALITY = 90, MOST = 1000, FIRST = 20, SEED = 1 };

static Error e;

static DataSettings settings(const char *photos) {
    Recipe *r = NULL;
    DataSettings s;
    char *plain[] = {"data.mean=[0,0,0]", "data.std=[1,1,1]", "data.layout=flat"};
    if (!recipe_parse(&r, "bench", "{}", 2, plain, 3, &e) || !recipe_bind(r, &data_table, &s, &e))
        die("%s", e.text);
    recipe_close(r);
    snprintf(s.train, sizeof s.train, "%s", photos);
    return s;
}

static Rng rng_of(int k) {
    return rng_open(SEED, RNG_AUGMENT, 0, (uint64_t)k);
}

static bool make_one(Resizer *r, const DataSettings *set, const char *photo, const char *out, int k,
                     FILE *crops) {
    Image im = {0}, sized = {0};
    char path[4096];
    snprintf(path, sizeof path, "%s/%d.jpg", out, k);
    bool ok = image_read(&im, photo, &image_standard, &e);
    if (ok) {
        ResizeTo to = resize_whole(resize_view(&im), WIDTH, HEIGHT, RESIZE_BICUBIC);
        ok = resize_run(r, &sized, resize_view(&im), &to, &e) && image_write_jpeg(&sized, QUALITY, path, &e);
    }
    Rng crop = rng_sub(rng_of(k), AUGMENT_CROP), flip = rng_sub(rng_of(k), AUGMENT_FLIP);
    ImageBox b = augment_crop_random(&crop, set, WIDTH, HEIGHT);
    fprintf(crops, "%d %d %d %d %d %d\n", k, b.x, b.y, b.width, b.height, rng_uniform(&flip) < set->hflip);
    image_free(&im);
    image_free(&sized);
    return ok;
}

static int make(const char *photos, const char *out, int n) {
    DataSettings set = settings(photos);
    Dataset *d;
    Resizer r = {0};
    char path[4096];
    snprintf(path, sizeof path, "%s/crops.txt", out);
    FILE *crops = fopen(path, "w");
    bool ok = crops && dataset_open(&d, &set, true, &e);
    if (!ok) {
        fprintf(stderr, "%s: %s\n", path, e.text);
        return 1;
    }
    for (int k = 0; ok && k < n; k++) ok = make_one(&r, &set, d->sample[k % d->count].path, out, k, crops);
    if (!ok) fprintf(stderr, "%s\n", e.text);
    fclose(crops);
    resize_free(&r);
    dataset_close(d);
    return !ok;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int run(const char *out, double seconds) {
    static Bytes file[MOST];
    static float sample[3 * SIZE * SIZE];
    DataSettings set = settings("");
    Augment a = augment_of(&set, SIZE, true);
    AugmentScratch scratch = {0};
    char path[4096];
    int n = 0;
    for (; n < MOST; n++) {
        snprintf(path, sizeof path, "%s/%d.jpg", out, n);
        if (!bytes_read(&file[n], path, 1 << 28, &e)) break;
    }
    snprintf(path, sizeof path, "%s/first.bin", out);
    FILE *first = fopen(path, "wb");
    if (n == 0 || !first) {
        fprintf(stderr, "%s\n", n ? path : e.text);
        return 1;
    }
    int64_t images = 0;
    double begin = now();
    while (images < n || now() < begin + seconds) {
        int k = (int)(images % n);
        AugmentSource from = {file[k].data, file[k].size, path, NULL};
        if (!augment_run(&a, &scratch, &from, rng_of(k), sample, NULL, &e)) die("%s", e.text);
        if (images < FIRST) fwrite(sample, sizeof sample, 1, first);
        images++;
    }
    printf("%.1f\n", (double)images / (now() - begin));
    fclose(first);
    augment_scratch_free(&scratch);
    for (int k = 0; k < n; k++) bytes_free(&file[k]);
    return 0;
}

int main(int count, char **word) {
    if (count == 5 && strcmp(word[1], "make") == 0) return make(word[2], word[3], atoi(word[4]));
    if (count == 4 && strcmp(word[1], "run") == 0) return run(word[2], atof(word[3]));
    fprintf(stderr, "usage: %s make PHOTOS OUT N | run OUT SECONDS\n", word[0]);
    return 2;
}
