/* kernels: `make kernels`, the table of ops and backends with every hole. */
#include "core/op.h"

int main(void) {
    return op_print_kernels() ? 0 : 1;
}
