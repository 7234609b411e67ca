// SPDX-License-Identifier: BSD-2-Clause
// The copy rule, in code. File bytes are copied by the CPU at two sites only, both counted here: the user stream
// head (kernel/stream.c) and an incoming write going into the cache, which is copied here. Everything else that
// copies what may be file bytes (lwIP's copy macros) comes through copy_other, whose counter must
// stay at 0.
#pragma once

#include "kernel/base.h"

enum copy_site { COPY_STREAM_HEAD, COPY_CACHE_WRITE, COPY_OTHER, COPY_SITES };

// bytes copied so far at a site: pagewire_copy_bytes_total{site=...}. Any context.
uint64_t copy_bytes(enum copy_site site);
// Takes back what a test had counted on purpose. Tests only.
void copy_take_back(enum copy_site site, uint64_t bytes);

struct page;
// The write path's one copy: `len` bytes from kernel memory (or wherever `copy` gets them from: the stream
// head, user memory) into a page of the cache, through a window on that page alone, counted as
// cache_write. 0, or copy's error: how much was copied is then unknown. The caller keeps everybody else
// away from the page. Fast WTD or thread context; copy may not sleep.
int copy_cache_write(struct page *page, size_t offset, const void *from, size_t len,
		     int (*copy)(void *to, const void *from, size_t len)) MUST_CHECK;
// Counts bytes that kernel/stream.c moved between a program and the kernel. Any context.
void copy_count(enum copy_site site, uint64_t bytes);
// A program's own copy of part of a cache page that it wrote to (private mapping): counted as stream_head.
// The page is wired; to: kernel memory. Thread context.
void copy_from_cache(void *to, struct page *page, size_t offset, size_t bytes);

// lwIP's MEMCPY and MEMMOVE land here (net/lwip port), and SMEMCPY where the length is no constant:
// what has a constant length is a header's field, never file data. Copies of header bytes and other
// small generated data are what they are for; a source or destination inside a page-cache page
// counts as COPY_OTHER (and under cache=unmapped faults). Overlap allowed. Any context.
void *copy_other(void *to, const void *from, size_t len);

// For copy_cache_write when the bytes are in another page of the cache, which the caller has wired: `from` names
// them by their address in the direct map, where they may not be mapped. Returns 0.
int copy_from_page(void *to, const void *from, size_t len);
