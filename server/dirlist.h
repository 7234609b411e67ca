// SPDX-License-Identifier: BSD-2-Clause
// Directory listings, HTML and JSON. A worker reads the directory, asks each entry's inode for size and
// date, and sorts; the answer is then written piece by piece as TCP takes it, so that a listing costs
// the memory of its entries and never that of its text.
//
// Bounds: LISTING_ENTRIES_MAX entries in one listing and an eighth of the memory for all listings at
// once (64 MB at most). A directory beyond that is listed as far as it goes, sorted, and the page says
// so; a listing for which others leave no memory is answered with a 503.
//
// The query sorts: ?sort=name|size|date&order=asc|desc. Directories always come first.
#pragma once

#include "fs/inode.h"
#include "server/http_job.h"
#include "server/http_text.h"
#include "server/http_uri.h"

#define LISTING_ENTRIES_MAX 500000
#define LISTING_MEASURED    5000 // up to so many entries Content-Length says how long it will be
#define LISTING_PIECE	    4096 // the most that listing_piece makes, framing aside

enum listing_sort { LISTING_BY_NAME, LISTING_BY_SIZE, LISTING_BY_DATE };
enum listing_stage {
	LISTING_STYLE,
	LISTING_HEADING,
	LISTING_ROWS,
	LISTING_FOOT,
	LISTING_LAST,
	LISTING_DONE
};

struct listing_entry {
	uint64_t size; // bytes; until it is known, the inode's number
	int64_t mtime;
	uint8_t type; // enum inode_type; a symlink has its target's, or INODE_SYMLINK when dangling
	uint8_t len;
	char name[];
};

struct listing_place {
	size_t next; // entry
	enum listing_stage stage;
};

struct listing_chunk;

struct listing {
	struct http_job job;
	struct inode *dir;		// reference
	struct listing_chunk *chunks;	// newest first
	struct listing_entry **entries; // sorted
	size_t count;
	size_t memory; // bytes that count against the bound
	enum listing_sort sort;
	bool descending, json;
	bool cut; // the directory has more entries
	bool handed_over;
	int status;
	struct listing_place place;
	uint64_t length; // of the whole text; 0: it was not measured
	uint16_t path_len;
	char path[HTTP_PATH_MAX];
	char scratch[HTTP_PATH_MAX]; // the worker's: paths, pieces that are measured
};

// Fast WTD context. Starts listing x->inode for x, which waits meanwhile. False: no memory.
bool listing_start(struct http_exchange *x);
void listing_free(struct listing *l); // fast WTD or thread context

// The text, from the current place on. Each piece is at most LISTING_PIECE bytes and its chunk's framing
// (16).
static inline bool listing_done(const struct listing *l)
{
	return l->place.stage == LISTING_DONE;
}
static inline struct listing_place listing_place(const struct listing *l)
{
	return l->place;
}
static inline void listing_return_to(struct listing *l, struct listing_place place)
{
	l->place = place;
}
void listing_piece(struct listing *l, struct text *t, bool chunked);

// dirlist_write.c: one part of the text. A part that does not fit leaves t->full set.
void listing_html_part(const struct listing *l, struct text *t);
void listing_json_part(const struct listing *l, struct text *t);

// For tests: the steps that need no file system.
struct listing_entry *listing_add(struct listing *l, const char *name, uint8_t len);
bool listing_arrange(struct listing *l); // sorts; false: no memory
void listing_read_query(struct listing *l, const char *query, size_t len);
