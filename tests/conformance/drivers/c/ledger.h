/* The ledger: the state that all languages share, byte for byte. */
#ifndef DRIVER_LEDGER_H
#define DRIVER_LEDGER_H

#include "line.h"

struct item {
  struct bytes key, value;
};

struct ledger {
  struct item *items; /* in ascending order of their keys */
  size_t items_count;
  uint64_t count, applied, hash;
};

struct ledger ledger_new(void);
void ledger_clear(struct ledger *ledger);
/* Applies an entry that is no `x`. */
void ledger_apply(struct ledger *ledger, const libraft_entry *entry);
/* The item with this key, or NULL. */
const struct item *ledger_find(const struct ledger *ledger, const void *key, size_t length);
/* The caller frees `data`. */
struct bytes ledger_to_bytes(const struct ledger *ledger);
/* Replaces the ledger; 0 if the bytes are none. */
int ledger_from_bytes(struct ledger *ledger, const uint8_t *data, size_t length);

/* An integer as `width` bytes, little-endian. */
void put_number(uint8_t *place, uint64_t value, size_t width);

#endif
