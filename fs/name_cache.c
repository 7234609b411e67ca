// SPDX-License-Identifier: BSD-2-Clause
// What look-ups found out, kept: names in directories, and whole paths with their links followed. Absent
// names are kept like others (-ENOENT). One hash, one LRU, bounded by a share of memory; the hash is
// seeded, for clients choose the names.
//
// name_forget makes one name and every path unknown again: paths carry the generation in which they
// were looked up. name_forget_leaf leaves the paths of directories known, so that files that come and go do
// not send every look-up to the disk.
#include "fs/name.h"
#include "fs/volume_private.h"
#include "fs/zeros.h"

#include "kernel/cpu.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"

#define SHORT_BYTES 40 // names that fit the small entries: nearly all
#define LONG_BYTES  255
#define ENTRIES_MIN 2048
#define ENTRIES_MAX 1000000 // of each size: 96 MB if all are short
#define BUCKETS_MAX (BIT(22) / sizeof(void *))

// Its name follows it. Lock key: L: name_lock, all of it.
struct name_entry {
	struct name_entry *hash_next;
	struct name_entry *lru_next, *lru_prev;
	uint64_t hash;
	uint64_t dir;
	uint64_t number;
	uint64_t generation; // paths: as of when (current_generation)
	uint32_t volume;     // id
	uint32_t moved;	     // `moves` when it came to the front of the LRU
	int16_t error;
	uint8_t len;
	uint8_t type; // enum inode_type
	bool path;
};
struct short_entry {
	struct name_entry entry;
	char name[SHORT_BYTES];
};
struct long_entry {
	struct name_entry entry;
	char name[LONG_BYTES];
};

struct spinlock name_lock = SPINLOCK_INIT("name", RANK_NAME);
// Maximum of each set at boot: short entries for half as many as there are frames (1/75 of memory if all
// are made), long ones for a sixteenth (1/200).
static struct pool short_pool = POOL_INIT("name", struct short_entry, 0);
static struct pool long_pool = POOL_INIT("name-long", struct long_entry, 0);
static struct zeros buckets; // of pointers to the first entry
static uint64_t bucket_mask, seed[2];
// Moves with every name_forget; and with those that could change where a directory's path leads.
static uint64_t generation = 1, way_generation = 1;
static struct name_entry *lru_first, *lru_last;
static uint32_t moves;
static uint64_t entries, known, unknown, evicted;

KSTAT_GAUGE(entries, "pagewire_name_cache_entries", "Names and paths remembered.");
KSTAT_COUNTER(known, "pagewire_name_cache_hits_total", "Names and paths that were remembered.");
KSTAT_COUNTER(unknown, "pagewire_name_cache_misses_total", "Names and paths that were not.");
KSTAT_COUNTER(evicted, "pagewire_name_cache_evictions_total", "Entries that made room for others.");

static char *name_of(struct name_entry *entry)
{
	return (char *)(entry + 1);
}

static uint64_t mix(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load64(const char *p)
{
	uint64_t word;
	__builtin_memcpy(&word, p, sizeof(word));
	return word;
}

static uint32_t load32(const char *p)
{
	uint32_t word;
	__builtin_memcpy(&word, p, sizeof(word));
	return word;
}

// The last 1 to 8 bytes of a name; with its length they say all that is not in the words before.
static uint64_t last_word(const char *name, size_t len)
{
	if (len >= 8)
		return load64(name + len - 8);
	if (len >= 4)
		return (uint64_t)load32(name) << 32 | load32(name + len - 4);
	return (uint64_t)(uint8_t)name[0] << 16 | (uint64_t)(uint8_t)name[len / 2] << 8 |
	       (uint8_t)name[len - 1];
}

// len is at least 1.
static uint64_t hash_of(enum name_kind kind, const struct volume *volume, uint64_t dir,
			const char *name, size_t len)
{
	uint64_t h = mix(seed[0] ^ dir, 0x9e3779b97f4a7c15UL + (volume->id << 1 | kind) + len);
	for (size_t at = 0; at + 8 < len; at += 8)
		h = mix(h ^ load64(name + at), seed[1]);
	h = mix(h ^ last_word(name, len), seed[1]);
	return h ^ h >> 32;
}

static bool same_name(const char *a, const char *b, size_t len)
{
	for (size_t at = 0; at + 8 < len; at += 8)
		if (load64(a + at) != load64(b + at))
			return false;
	return last_word(a, len) == last_word(b, len);
}

static void lru_remove(struct name_entry *e)
{
	*(e->lru_prev ? &e->lru_prev->lru_next : &lru_first) = e->lru_next;
	*(e->lru_next ? &e->lru_next->lru_prev : &lru_last) = e->lru_prev;
}

static void lru_add(struct name_entry *e)
{
	e->lru_prev = NULL;
	e->lru_next = lru_first;
	*(lru_first ? &lru_first->lru_prev : &lru_last) = e;
	lru_first = e;
	e->moved = ++moves;
}

static struct name_entry **bucket_to_write(uint64_t hash)
{
	return zeros_write(&buckets, hash & bucket_mask, sizeof(struct name_entry *));
}

static void drop(struct name_entry *e)
{
	struct name_entry **link = bucket_to_write(e->hash);
	while (*link != e)
		link = &(*link)->hash_next;
	*link = e->hash_next;
	lru_remove(e);
	entries--;
	pool_free(e->len > SHORT_BYTES ? &long_pool : &short_pool, e);
}

static struct name_entry *find(enum name_kind kind, const struct volume *volume, uint64_t dir,
			       const char *name, size_t len, uint64_t hash)
{
	struct name_entry *const *bucket =
	    zeros_read(&buckets, hash & bucket_mask, sizeof(*bucket));
	struct name_entry *e = *bucket;
	for (; e; e = e->hash_next)
		if (e->hash == hash && e->dir == dir && e->len == len &&
		    e->path == (kind == NAME_PATH) && e->volume == volume->id &&
		    same_name(name_of(e), name, len))
			return e;
	return NULL;
}

// A path that leads to a directory goes through directories and symbolic links only: other names that come and
// go do not change it.
static uint64_t current_generation(int error, unsigned type)
{
	return !error && type == INODE_DIRECTORY ? way_generation : generation;
}

bool name_recall(enum name_kind kind, const struct volume *volume, uint64_t dir, const char *name,
		 size_t len, struct name_answer *out)
{
	struct name_entry *e = NULL;
	if (len <= LONG_BYTES)
		e = find(kind, volume, dir, name, len, hash_of(kind, volume, dir, name, len));
	if (!e || (e->path && e->generation != current_generation(e->error, e->type))) {
		unknown++;
		return false;
	}
	// Among the younger half it may stay where it is: the hottest names cost no list work.
	if (UNLIKELY(moves - e->moved > entries / 2 + 64)) {
		lru_remove(e);
		lru_add(e);
	}
	*out = (struct name_answer){.error = e->error, .type = e->type, .number = e->number};
	known++;
	return true;
}

// An entry for a name of that length; when there is none, the oldest ones make room.
static struct name_entry *take_entry(size_t len)
{
	struct pool *pool = len > SHORT_BYTES ? &long_pool : &short_pool;
	struct name_entry *e = pool_alloc(pool);
	for (unsigned i = 0; !e && lru_last && i < 8; i++) {
		bool same = (lru_last->len > SHORT_BYTES) == (len > SHORT_BYTES);
		drop(lru_last);
		evicted++;
		if (same)
			e = pool_alloc(pool);
	}
	return e;
}

void name_remember(enum name_kind kind, const struct volume *volume, uint64_t dir, const char *name,
		   size_t len, const struct name_answer *answer, uint64_t since)
{
	if (len > LONG_BYTES)
		return;
	uint64_t hash = hash_of(kind, volume, dir, name, len);
	spin_lock_wtd(&name_lock);
	struct name_entry *e = find(kind, volume, dir, name, len, hash);
	if (since != generation) {
		spin_unlock_wtd(&name_lock);
		return;
	}
	if (!e && (e = take_entry(len))) {
		memcpy(name_of(e), name, len);
		e->hash = hash;
		e->dir = dir;
		e->len = (uint8_t)len;
		e->volume = volume->id;
		e->path = kind == NAME_PATH;
		struct name_entry **bucket = bucket_to_write(hash);
		e->hash_next = *bucket;
		*bucket = e;
		lru_add(e);
		entries++;
	}
	if (e) {
		e->error = (int16_t)answer->error;
		e->type = (uint8_t)answer->type;
		e->number = answer->number;
		e->generation = current_generation(answer->error, answer->type);
	}
	spin_unlock_wtd(&name_lock);
}

uint64_t name_generation(void)
{
	return __atomic_load_n(&generation, __ATOMIC_ACQUIRE);
}

void name_generation_advance(void)
{
	spin_lock_wtd(&name_lock);
	generation++;
	spin_unlock_wtd(&name_lock);
}

static void forget(struct volume *volume, uint64_t dir, const char *name, size_t len, bool way)
{
	if (len > LONG_BYTES)
		return;
	spin_lock_wtd(&name_lock);
	struct name_entry *e =
	    find(NAME_ENTRY, volume, dir, name, len, hash_of(NAME_ENTRY, volume, dir, name, len));
	if (e)
		drop(e);
	generation++;
	way_generation += way;
	spin_unlock_wtd(&name_lock);
}

void name_forget(struct volume *volume, uint64_t dir, const char *name, size_t len)
{
	forget(volume, dir, name, len, true);
}

void name_forget_leaf(struct volume *volume, uint64_t dir, const char *name, size_t len)
{
	forget(volume, dir, name, len, false);
}

void name_cache_init(void)
{
	struct pmm_stats stats;
	pmm_stats(&stats);
	uint64_t most = MAX(stats.frames_total / 2, (uint64_t)ENTRIES_MIN);
	most = MIN(most, (uint64_t)ENTRIES_MAX);
	short_pool.maximum = (uint32_t)most;
	long_pool.maximum = (uint32_t)MAX(most / 8, (uint64_t)ENTRIES_MIN);
	uint64_t size = 1024;
	while (size < most / 2 && size < BUCKETS_MAX) // two to a bucket when it is full
		size *= 2;
	bucket_mask = size - 1;
	seed[0] = cpu_random();
	seed[1] = cpu_random() | 1;
	if (!zeros_make(&buckets, size * sizeof(struct name_entry *)))
		PANIC("no memory for the name hash (%lu buckets)", (unsigned long)size);
}

void name_cache_drop(void)
{
	bool more;
	do { // a few at a time: packets wait while the lock is held
		spin_lock_wtd(&name_lock);
		for (unsigned i = 0; i < 64 && lru_last; i++)
			drop(lru_last);
		more = lru_last;
		spin_unlock_wtd(&name_lock);
	} while (more);
}

void name_cache_stop(void)
{
	name_cache_drop();
	zeros_free(&buckets);
}
