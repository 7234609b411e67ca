// SPDX-License-Identifier: BSD-2-Clause
// The page cache's figures: metrics, and the lines it adds to MEMORY and MONITOR.
#include "fs/pagecache_private.h"

#include "kernel/console.h"
#include "kernel/kstat.h"
#include "kernel/pmm.h"
#include "kernel/timer.h"

static uint64_t long_term_hits_pm(void)
{
	uint64_t hits = cache.hits, all = hits + cache.misses;
	return all ? hits * 1000 / all : 0;
}

void pagecache_stats(struct pagecache_stats *out)
{
	*out = (struct pagecache_stats){
	    .pages = cache.pages,
	    .pages_max = frames_for_cache(),
	    .dirty = cache.dirty,
	    .pinned = page_pinned(),
	    .hits = cache.hits,
	    .misses = cache.misses,
	    .readahead_pages = cache.ahead_pages,
	    .readahead_used = cache.ahead_used,
	    .readahead_lost = cache.ahead_lost,
	    .readahead_unread = cache.ahead_unread,
	    .evictions = cache.evictions,
	    .no_page = cache.no_page,
	    .lru_sitting_ns = lru_sitting_ns(),
	    .long_term_hits_pm = long_term_hits_pm(),
	    .reads_in_flight = cache.reads,
	};
}

static uint64_t pages_max(void)
{
	struct pagecache_stats stats;
	pagecache_stats(&stats);
	return stats.pages_max;
}

static uint64_t sitting_seconds(void)
{
	return lru_sitting_ns() / NS_PER_SEC;
}

KSTAT_ROW(pages, .name = "pagewire_cache_pages", .type = KSTAT_GAUGE_T,
	  .help = "Pages in the file cache.", .value = &cache.pages);
KSTAT_ROW(spare_pages, .name = "pagewire_cache_spare_pages", .type = KSTAT_GAUGE_T,
	  .help = "Frames the cache holds for the next pages it reads.",
	  .value = &cache.spare_pages);
KSTAT_ROW(reading, .name = "pagewire_cache_reading_pages", .type = KSTAT_GAUGE_T,
	  .help = "Pages that are being read from a disk now.", .value = &cache.reading);
KSTAT_ROW(dirty, .name = "pagewire_cache_dirty_pages", .type = KSTAT_GAUGE_T,
	  .help = "Pages that wait to be written.", .value = &cache.dirty);
KSTAT_ROW(reads, .name = "pagewire_cache_reads_in_flight", .type = KSTAT_GAUGE_T,
	  .help = "Reads of neighbouring pages in being.", .value = &cache.reads);
KSTAT_ROW(hits, .name = "pagewire_cache_hits_total", .type = KSTAT_COUNTER_T,
	  .help = "Look-ups answered from memory, holes included.", .value = &cache.hits);
KSTAT_ROW(misses, .name = "pagewire_cache_misses_total", .type = KSTAT_COUNTER_T,
	  .help = "Look-ups that had to wait for the disk.", .value = &cache.misses);
KSTAT_ROW(underway, .name = "pagewire_cache_misses_underway_total", .type = KSTAT_COUNTER_T,
	  .help = "Of them: the page was being read already.", .value = &cache.underway);
KSTAT_ROW(ahead_pages, .name = "pagewire_cache_readahead_pages_total", .type = KSTAT_COUNTER_T,
	  .help = "Pages read before anybody asked for them.", .value = &cache.ahead_pages);
KSTAT_ROW(ahead_used, .name = "pagewire_cache_readahead_used_total", .type = KSTAT_COUNTER_T,
	  .help = "Of them: asked for later.", .value = &cache.ahead_used);
KSTAT_ROW(ahead_lost, .name = "pagewire_cache_readahead_lost_total", .type = KSTAT_COUNTER_T,
	  .help = "Of them: gave up their frame before anybody asked.", .value = &cache.ahead_lost);
KSTAT_ROW(ahead_unread, .name = "pagewire_cache_readahead_unread_pages", .type = KSTAT_GAUGE_T,
	  .help = "Pages read ahead that nobody has asked for yet.", .value = &cache.ahead_unread);
KSTAT_ROW(evictions, .name = "pagewire_cache_evictions_total", .type = KSTAT_COUNTER_T,
	  .help = "Pages that gave their frame to another, least recently used first.",
	  .value = &cache.evictions);
KSTAT_ROW(once_pages, .name = "pagewire_cache_once_pages", .type = KSTAT_GAUGE_T,
	  .help = "Pages that were asked for once, or not yet: the first ones to go.",
	  .value = &cache.once.pages);
KSTAT_ROW(again_pages, .name = "pagewire_cache_again_pages", .type = KSTAT_GAUGE_T,
	  .help = "Pages that were asked for again.", .value = &cache.again.pages);
KSTAT_ROW(promoted, .name = "pagewire_cache_promoted_total", .type = KSTAT_COUNTER_T,
	  .help = "Times that a page was asked for again.", .value = &cache.promoted);
KSTAT_ROW(returned, .name = "pagewire_cache_returned_total", .type = KSTAT_COUNTER_T,
	  .help = "Pages read again soon after they went.", .value = &cache.returned);
KSTAT_ROW(no_page, .name = "pagewire_cache_no_page_total", .type = KSTAT_COUNTER_T,
	  .help = "Reads refused: every page was on the wire, or no memory.",
	  .value = &cache.no_page);
KSTAT_ROW(read_errors, .name = "pagewire_cache_read_errors_total", .type = KSTAT_COUNTER_T,
	  .help = "Reads of pages that failed.", .value = &cache.read_errors);
KSTAT_ROW(retried, .name = "pagewire_cache_read_retries_total", .type = KSTAT_COUNTER_T,
	  .help = "Reads of several pages that failed and were repeated page by page.",
	  .value = &cache.retried);
KSTAT_ROW(holes, .name = "pagewire_cache_holes_total", .type = KSTAT_COUNTER_T,
	  .help = "Pages found to be holes, which take no memory.", .value = &cache.holes);
KSTAT_ROW(detached, .name = "pagewire_cache_detached_total", .type = KSTAT_COUNTER_T,
	  .help = "Pages taken out of the cache while somebody could still hold them.",
	  .value = &cache.detached);
KSTAT_ROW(queued_total, .name = "pagewire_cache_queued_total", .type = KSTAT_COUNTER_T,
	  .help = "Reads that had to wait until another read was over.",
	  .value = &cache.queued_total);
KSTAT_GAUGE_FN(pages_max, "pagewire_cache_pages_max", NULL,
	       "Pages the cache could have now if it took all memory that nothing else needs.",
	       pages_max);
KSTAT_GAUGE_FN(sitting, "pagewire_cache_lru_sitting_seconds", NULL,
	       "How long the next page to go has not been used.", sitting_seconds);
KSTAT_GAUGE_FN(long_term, "pagewire_cache_long_term_hits_permille", NULL,
	       "Hits in 1000 look-ups since boot; below 900: add memory.", long_term_hits_pm);

KSTAT_ROW(dirty_max, .name = "pagewire_cache_dirty_pages_max", .type = KSTAT_GAUGE_T,
	  .help = "The ceiling: more pages than that may not wait to be written.",
	  .value = &cache.dirty_max);
KSTAT_ROW(written, .name = "pagewire_cache_written_pages_total", .type = KSTAT_COUNTER_T,
	  .help = "Pages given to a disk to be written.", .value = &writeback_figures.pages);
KSTAT_ROW(write_commands, .name = "pagewire_cache_write_commands_total", .type = KSTAT_COUNTER_T,
	  .help = "Commands in which they were written.", .value = &writeback_figures.commands);
KSTAT_ROW(write_errors, .name = "pagewire_cache_write_errors_total", .type = KSTAT_COUNTER_T,
	  .help = "Files of which something could not be written, each time it was tried.",
	  .value = &writeback_figures.errors);
KSTAT_ROW(errors_told, .name = "pagewire_cache_write_errors_told_total", .type = KSTAT_COUNTER_T,
	  .help = "Errors of writing that somebody who waited for it was told.",
	  .value = &writeback_figures.errors_told);
KSTAT_ROW(lost_pages, .name = "pagewire_cache_lost_pages_total", .type = KSTAT_COUNTER_T,
	  .help = "Pages that could not be written and were given up.",
	  .value = &writeback_figures.lost_pages);
KSTAT_ROW(dropped, .name = "pagewire_cache_dropped_pages_total", .type = KSTAT_COUNTER_T,
	  .help = "Pages of deleted or shortened files that never had to be written.",
	  .value = &writeback_figures.dropped_pages);
KSTAT_ROW(room_waits, .name = "pagewire_cache_write_room_waits_total", .type = KSTAT_COUNTER_T,
	  .help = "Writes that had to wait because a disk is slower than who writes to it.",
	  .value = &writeback_figures.room_waits);
KSTAT_ROW(page_waits, .name = "pagewire_cache_write_page_waits_total", .type = KSTAT_COUNTER_T,
	  .help = "Writes that had to wait for a page that a disk was just writing.",
	  .value = &writeback_figures.page_waits);
KSTAT_ROW(refills, .name = "pagewire_cache_write_refills_total", .type = KSTAT_COUNTER_T,
	  .help = "Pages read from a disk because they were written in part.",
	  .value = &writeback_figures.refills);
KSTAT_ROW(
    replaced, .name = "pagewire_cache_replaced_pages_total", .type = KSTAT_COUNTER_T,
    .help = "Pages that were on the wire when they were written, and gave their place to others.",
    .value = &writeback_figures.replaced);
KSTAT_ROW(syncs, .name = "pagewire_cache_file_syncs_total", .type = KSTAT_COUNTER_T,
	  .help = "Times that somebody waited for a file to be written.",
	  .value = &writeback_figures.syncs);

static void print_memory(void)
{
	struct pagecache_stats s;
	pagecache_stats(&s);
	console_printf("File cache: %lu of %lu pages (%lu KB), %lu on the wire, %lu being read, "
		       "%lu spare\n",
		       (unsigned long)s.pages, (unsigned long)s.pages_max,
		       (unsigned long)s.pages * 4, (unsigned long)s.pinned,
		       (unsigned long)cache.reading, (unsigned long)cache.spare_pages);
	console_printf("  %lu of at most %lu pages wait to be written, %lu written, %lu lost\n",
		       (unsigned long)s.dirty, (unsigned long)cache.dirty_max,
		       (unsigned long)writeback_figures.pages,
		       (unsigned long)writeback_figures.lost_pages);
	console_printf(
	    "  %lu asked for once, %lu again; %lu evictions, %lu of them came back soon, %lu "
	    "refused\n",
	    (unsigned long)cache.once.pages, (unsigned long)cache.again.pages,
	    (unsigned long)s.evictions, (unsigned long)cache.returned, (unsigned long)s.no_page);
	console_printf("  %lu pages read ahead: %lu were used, %lu went unused, %lu wait\n",
		       (unsigned long)s.readahead_pages, (unsigned long)s.readahead_used,
		       (unsigned long)s.readahead_lost, (unsigned long)s.readahead_unread);
}
CONSOLE_SECTION(pagecache_memory, "MEMORY", 20, print_memory);

static void print_monitor(void)
{
	struct pagecache_stats s;
	pagecache_stats(&s);
	console_printf("Original Cache Buffers: %-10lu Total Cache Buffers: %-10lu\n",
		       (unsigned long)cache.frames_total, (unsigned long)s.pages);
	console_printf("Dirty Cache Buffers:    %-10lu Pinned Buffers:      %-10lu\n",
		       (unsigned long)s.dirty, (unsigned long)s.pinned);
	console_printf("Long Term Cache Hits:   %3lu.%lu %%    LRU Sitting Time:    %lu s\n",
		       (unsigned long)s.long_term_hits_pm / 10,
		       (unsigned long)s.long_term_hits_pm % 10,
		       (unsigned long)(s.lru_sitting_ns / NS_PER_SEC));
	console_printf("Current Disk Requests:  %-10lu\n", (unsigned long)s.reads_in_flight);
}
CONSOLE_SECTION(pagecache_monitor, "MONITOR", 20, print_monitor);
