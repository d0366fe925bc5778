/* expect: what must hold; else the program says where it does not, and ends. */
#ifndef LETHE_TESTS_DEVICE_EXPECT_H
#define LETHE_TESTS_DEVICE_EXPECT_H

#include <cstdio>
#include <cstdlib>

#define EXPECT(yes)                                                                                          \
    do {                                                                                                     \
        if (!(yes)) {                                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #yes);                                        \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

#endif
