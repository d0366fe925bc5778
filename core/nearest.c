#include "core/nearest.h"

#include <limits.h>
#include <string.h>

enum { LONGEST = 200 };

static int least(int a, int b) {
    return a < b ? a : b;
}

int nearest_distance(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    int row[3][LONGEST + 1]; /* two rows back, one row back, now; used in turn */
    if (n > LONGEST || m > LONGEST) return INT_MAX / 2;
    for (size_t j = 0; j <= m; j++) row[0][j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int *now = row[i % 3], *before = row[(i + 2) % 3], *earlier = row[(i + 1) % 3];
        now[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int cost = a[i - 1] != b[j - 1];
            now[j] = least(least(before[j], now[j - 1]) + 1, before[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], earlier[j - 2] + 1);
        }
    }
    return row[n % 3][m];
}

int nearest_limit(const char *word) {
    size_t third = (strlen(word) + 2) / 3;
    return third > 4 ? 4 : (int)third;
}
