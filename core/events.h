/* events: a TensorBoard event file (tensorflow/tensorboard, tensorboard/compat/proto/event.proto and
 * summary.proto; framing of TFRecord). A record is
 *     u64 length | u32 masked CRC-32C of those 8 bytes | data | u32 masked CRC-32C of data      (little
 * endian) and its data one protobuf Event. Only what we need is written: scalars, PNG images, the start of a
 * session. No call after events_open allocates memory. Events gather in a buffer until events_flush. */
#ifndef LETHE_EVENTS_H
#define LETHE_EVENTS_H

#include "core/base.h"

typedef struct Events Events;

/* A new file events.out.tfevents.SECONDS.HOST.PID.N in `folder`. When first_step > 0 the file says that a
 * session starts there, which makes TensorBoard forget later steps of older files (the run was resumed). */
bool events_open(Events **out, const char *folder, int64_t first_step, Error *e);
void events_close(Events *v); /* flushes as well as it can; NULL is fine */

/* Tags are cut at 200 bytes. The value is stored as a float. */
bool events_scalar(Events *v, int64_t step, const char *tag, double value, Error *e);
bool events_image(Events *v, int64_t step, const char *tag, const void *png, size_t size, int width,
                  int height, Error *e);

/* Writes what is gathered. When that fails the file is cut back to its last whole record and the gathered
 * events are dropped: it stays readable. */
bool events_flush(Events *v, Error *e);
bool events_sync(Events *v, Error *e); /* and makes it durable */

/* CRC-32C (Castagnoli) of more bytes after `crc` (0 at first), and TFRecord's mask of it. */
uint32_t events_crc(uint32_t crc, const void *data, size_t size);
uint32_t events_mask(uint32_t crc);

#endif
