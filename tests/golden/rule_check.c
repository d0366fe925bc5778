/* Prints the first N words of the stream of NAME by the rule of tests/golden/README.md, in hexadecimal, one a
 * line: rule.py compares them with its own. */
#include "core/rng.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: rule_check NAME N\n");
        return 1;
    }
    uint64_t hash = rng_hash(argv[1]);
    uint32_t key[2] = {(uint32_t)hash, (uint32_t)(hash >> 32)}, out[4];
    uint32_t n = (uint32_t)strtoul(argv[2], NULL, 10);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t counter[4] = {i / 4, 0, 0, 0};
        if (i % 4 == 0) rng_philox(counter, key, out);
        printf("%08x\n", out[i % 4]);
    }
    return 0;
}
