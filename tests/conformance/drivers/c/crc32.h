/* A running CRC-32 (zlib's polynomial), eight bytes at a time; for the drivers in C and C++. */
#ifndef DRIVER_CRC32_H
#define DRIVER_CRC32_H

#include <stddef.h>
#include <stdint.h>

static uint32_t crc32_tables[8][256];

static inline void crc32_prepare(void) {
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320u : 0);
    }
    crc32_tables[0][byte] = crc;
  }
  for (uint32_t byte = 0; byte < 256; byte++) {
    for (int table = 1; table < 8; table++) {
      uint32_t before = crc32_tables[table - 1][byte];
      crc32_tables[table][byte] = (before >> 8) ^ crc32_tables[0][before & 0xff];
    }
  }
}

static inline uint32_t crc32_word(const uint8_t *data) {
  return (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
         (uint32_t)data[3] << 24;
}

/* `crc` is 0 at the start, and what the call before returned. */
static inline uint32_t crc32_add(uint32_t crc, const uint8_t *data, size_t length) {
  crc = ~crc;
  for (; length >= 8; data += 8, length -= 8) {
    uint32_t low = crc ^ crc32_word(data), high = crc32_word(data + 4);
    crc = crc32_tables[7][low & 0xff] ^ crc32_tables[6][(low >> 8) & 0xff] ^
          crc32_tables[5][(low >> 16) & 0xff] ^ crc32_tables[4][low >> 24] ^
          crc32_tables[3][high & 0xff] ^ crc32_tables[2][(high >> 8) & 0xff] ^
          crc32_tables[1][(high >> 16) & 0xff] ^ crc32_tables[0][high >> 24];
  }
  for (; length > 0; data++, length--) {
    crc = (crc >> 8) ^ crc32_tables[0][(crc ^ *data) & 0xff];
  }
  return ~crc;
}

#endif
