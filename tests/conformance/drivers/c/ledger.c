#include "ledger.h"

#include <stdlib.h>
#include <string.h>

struct ledger ledger_new(void) {
  struct ledger ledger = {NULL, 0, 0, 0, 0xcbf29ce484222325};
  return ledger;
}

void ledger_clear(struct ledger *ledger) {
  for (size_t i = 0; i < ledger->items_count; i++) {
    free(ledger->items[i].key.data);
    free(ledger->items[i].value.data);
  }
  free(ledger->items);
  *ledger = ledger_new();
}

static int compare(const struct bytes *one, const void *other, size_t length) {
  size_t shorter = one->length < length ? one->length : length;
  int order = shorter == 0 ? 0 : memcmp(one->data, other, shorter);
  return order != 0 ? order : (one->length > length) - (one->length < length);
}

/* The position of the first item whose key is not less. */
static size_t position(const struct ledger *ledger, const void *key, size_t length) {
  size_t low = 0, high = ledger->items_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (compare(&ledger->items[middle].key, key, length) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

const struct item *ledger_find(const struct ledger *ledger, const void *key, size_t length) {
  size_t at = position(ledger, key, length);
  int found = at < ledger->items_count && compare(&ledger->items[at].key, key, length) == 0;
  return found ? &ledger->items[at] : NULL;
}

static struct bytes copy(const uint8_t *data, size_t length) {
  struct bytes bytes = {present(calloc(1, length + 1)), length};
  if (length > 0) {
    memcpy(bytes.data, data, length);
  }
  return bytes;
}

static void set(struct ledger *ledger, struct bytes key, struct bytes value) {
  size_t at = position(ledger, key.data, key.length);
  if (ledger_find(ledger, key.data, key.length) != NULL) {
    free(key.data);
    free(ledger->items[at].value.data);
    ledger->items[at].value = value;
    return;
  }
  ledger->items = present(realloc(ledger->items, (ledger->items_count + 1) * sizeof(struct item)));
  memmove(ledger->items + at + 1, ledger->items + at,
          (ledger->items_count - at) * sizeof(struct item));
  ledger->items[at] = (struct item){key, value};
  ledger->items_count++;
}

static void erase(struct ledger *ledger, const uint8_t *key, size_t length) {
  size_t at = position(ledger, key, length);
  if (ledger_find(ledger, key, length) == NULL) {
    return;
  }
  free(ledger->items[at].key.data);
  free(ledger->items[at].value.data);
  ledger->items_count--;
  memmove(ledger->items + at, ledger->items + at + 1,
          (ledger->items_count - at) * sizeof(struct item));
}

static uint64_t fnv(uint64_t hash, const uint8_t *data, size_t length) {
  for (size_t i = 0; i < length; i++) {
    hash = (hash ^ data[i]) * 0x100000001b3;
  }
  return hash;
}

void ledger_apply(struct ledger *ledger, const libraft_entry *entry) {
  const uint8_t *data = entry->data;
  uint8_t index[8];
  put_number(index, entry->index, 8);
  ledger->hash = fnv(fnv(ledger->hash, index, 8), data, entry->data_len);
  ledger->applied = entry->index;
  ledger->count++;
  if (entry->data_len < 2 || entry->data_len - 2 < data[1]) {
    return;
  }
  size_t key_len = data[1], start = 2 + key_len;
  if (data[0] == 's') {
    set(ledger, copy(data + 2, key_len), copy(data + start, entry->data_len - start));
  } else if (data[0] == 'd') {
    erase(ledger, data + 2, key_len);
  }
}

void put_number(uint8_t *place, uint64_t value, size_t width) {
  for (size_t i = 0; i < width; i++) {
    place[i] = (uint8_t)(value >> (8 * i));
  }
}

static uint64_t get_number(const uint8_t *place, size_t width) {
  uint64_t value = 0;
  for (size_t i = width; i > 0; i--) {
    value = value << 8 | place[i - 1];
  }
  return value;
}

enum { HEADER_BYTES = 8 + 3 * 8 + 4 };

struct bytes ledger_to_bytes(const struct ledger *ledger) {
  size_t length = HEADER_BYTES;
  for (size_t i = 0; i < ledger->items_count; i++) {
    length += 8 + ledger->items[i].key.length + ledger->items[i].value.length;
  }
  struct bytes bytes = {present(calloc(1, length)), length};
  uint8_t *at = bytes.data;
  memcpy(at, "LEDGER01", 8);
  put_number(at + 8, ledger->applied, 8);
  put_number(at + 16, ledger->count, 8);
  put_number(at + 24, ledger->hash, 8);
  put_number(at + 32, ledger->items_count, 4);
  at += HEADER_BYTES;
  for (size_t i = 0; i < ledger->items_count; i++) {
    const struct bytes parts[] = {ledger->items[i].key, ledger->items[i].value};
    for (size_t part = 0; part < 2; part++) {
      put_number(at, parts[part].length, 4);
      memcpy(at + 4, parts[part].data, parts[part].length);
      at += 4 + parts[part].length;
    }
  }
  return bytes;
}

int ledger_from_bytes(struct ledger *ledger, const uint8_t *data, size_t length) {
  struct ledger read = ledger_new();
  if (length < HEADER_BYTES || memcmp(data, "LEDGER01", 8) != 0) {
    return 0;
  }
  read.applied = get_number(data + 8, 8);
  read.count = get_number(data + 16, 8);
  read.hash = get_number(data + 24, 8);
  uint64_t keys = get_number(data + 32, 4);
  size_t at = HEADER_BYTES;
  for (; keys > 0; keys--) {
    struct bytes parts[2] = {{NULL, 0}, {NULL, 0}};
    for (size_t part = 0; part < 2; part++) {
      size_t wanted = length - at >= 4 ? get_number(data + at, 4) : SIZE_MAX;
      if (wanted == SIZE_MAX || length - at - 4 < wanted) {
        free(parts[0].data);
        ledger_clear(&read);
        return 0;
      }
      parts[part] = copy(data + at + 4, wanted);
      at += 4 + wanted;
    }
    set(&read, parts[0], parts[1]);
  }
  if (at != length) {
    ledger_clear(&read);
    return 0;
  }
  ledger_clear(ledger);
  *ledger = read;
  return 1;
}
