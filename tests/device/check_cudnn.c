/* That cuDNN accepts our graphs, on a machine without a GPU: it plans for a device that is described to it,
 * down to compiling the kernels. check_cudnn.sh builds and runs it. Prints what is refused and fails if
 * anything is.
 *     check_cudnn H100|A100 */
#include "core/cuda_attention.h"
#include "core/cuda_conv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool cudnn_pretend(const char *json, char *why, size_t size);
void check_exact(bool yes); /* check_cudnn.sh */

static const char *const common =
    "\"cudaDeviceId\": 0, \"driverVer\": 13000, \"maxGridSize\": [2147483647, 65535, 65535], "
    "\"maxBlockSize\": [1024, 1024, 64], \"regsPerBlock\": 65536, \"warpSize\": 32, "
    "\"maxSharedMemoryPerBlock\": 49152, \"reservedSharedMemoryPerBlock\": 1024, "
    "\"maxRegistersPerSM\": 65536, \"maxCtasPerSM\": 32, \"maxThreadsPerBlock\": 1024, "
    "\"maxThreadsPerSM\": 2048, \"pciDeviceId\": 0, \"isTccDriver\": 0, \"supportCoopLaunch\": 1, "
    "\"totalGlobalMem\": 85029158912";

static const struct Device {
    const char *name, *own;
} devices[] = {
    {"H100", "\"deviceName\": \"NVIDIA H100 80GB HBM3\", \"deviceVer\": 900, \"multiProcessorCount\": 132, "
             "\"maxSharedMemoryPerBlockOptin\": 232448, \"smClockRateKHz\": 1980000, "
             "\"memClockRateKHz\": 2619000, \"l2CacheSize\": 52428800"},
    {"A100", "\"deviceName\": \"NVIDIA A100-SXM4-80GB\", \"deviceVer\": 800, \"multiProcessorCount\": 108, "
             "\"maxSharedMemoryPerBlockOptin\": 166912, \"smClockRateKHz\": 1410000, "
             "\"memClockRateKHz\": 1593000, \"l2CacheSize\": 41943040"},
};

/* ViT-B and ViT-L, their MAE encoders and decoders, a wide head, cross attention, narrow heads. */
static const AttentionShape attentions[] = {
    {256, 12, 64, 197, 197, 2304, 2304, 0},
    {256, 16, 64, 50, 50, 3072, 3072, 0},
    {256, 16, 32, 197, 197, 1536, 1536, 0},
    {32, 16, 80, 257, 257, 3840, 3840, 0},
    {8, 8, 128, 1024, 1024, 3072, 3072, 1},
    {4, 8, 64, 100, 900, 512, 512, 0},
    {2, 1, 8, 5, 5, 24, 24, 0},
    {1, 3, 24, 33, 33, 216, 216, 1},
};

/* batch, groups, in, high, wide, out, high', wide', k, l, stride, pad: pyramids of detectors, the probes. */
static const Conv convolutions[] = {
    {16, 1, 256, 56, 56, 256, 56, 56, 3, 3, 1, 1}, {16, 1, 768, 14, 14, 256, 14, 14, 1, 1, 1, 0},
    {16, 1, 384, 28, 28, 768, 14, 14, 2, 2, 2, 0}, {2, 1, 4, 6, 5, 6, 6, 5, 3, 3, 1, 1},
    {2, 1, 3, 8, 6, 5, 4, 3, 3, 3, 2, 1},          {2, 1, 5, 4, 3, 7, 4, 3, 1, 1, 1, 0},
    {2, 2, 4, 5, 6, 8, 7, 9, 3, 2, 1, 2},          {2, 6, 6, 7, 5, 6, 4, 3, 3, 3, 2, 1},
    {2, 1, 3, 8, 8, 16, 2, 2, 4, 4, 4, 0},         {1, 1, 2, 3, 3, 4, 1, 1, 3, 3, 1, 0},
};

static int attention_check(const AttentionShape *s, bool backward, bool exact) {
    check_exact(exact);
    bool taken = cuda_attention_takes(s, backward);
    printf("attention %s%s, %" PRId64 " heads of %" PRId64 ", %" PRId64 " by %" PRId64 "%s: %s",
           backward ? "backward" : "forward", exact ? ", exact" : "", s->heads, s->d, s->n, s->m,
           s->causal ? ", causal" : "", taken ? "" : cuda_attention_why(s, backward));
    if (taken) printf("%" PRId64 " bytes of scratch", cuda_attention_scratch(s, backward));
    putchar('\n');
    return !taken;
}

static int convolution_check(const Conv *v, DType type) {
    int bad = 0;
    for (ConvWay way = CONV_FORWARD; way <= CONV_WEIGHT; way++) {
        const char *why = cuda_conv_why(way, type, v);
        printf("convolution way %d in %s, %" PRId64 " to %" PRId64 " channels, window %" PRId64 ": %s\n", way,
               dtype_name(type), v->in, v->out, v->k_high, why ? why : "taken");
        bad += why != NULL;
    }
    return bad;
}

int main(int count, char **argument) {
    char json[2000], why[300] = "no such device";
    const struct Device *d = NULL;
    for (int i = 0; i < COUNT(devices); i++)
        if (count == 2 && !strcmp(argument[1], devices[i].name)) d = &devices[i];
    if (d) snprintf(json, sizeof json, "{%s, %s}", d->own, common);
    if (!d || !cudnn_pretend(json, why, sizeof why)) {
        fprintf(stderr, "check_cudnn: %s\n", why);
        return 1;
    }
    int bad = 0;
    for (int i = 0; i < COUNT(attentions); i++) {
        bad += attention_check(&attentions[i], false, false);
        bad += attention_check(&attentions[i], true, false);
        bad += attention_check(&attentions[i], true, true);
    }
    for (int i = 0; i < COUNT(convolutions); i++)
        bad += convolution_check(&convolutions[i], DT_F32) + convolution_check(&convolutions[i], DT_BF16);
    printf("%s: %d refused\n", d->name, bad);
    return bad > 0;
}
