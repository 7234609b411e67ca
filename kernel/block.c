// SPDX-License-Identifier: BSD-2-Clause
// Disks and partitions: the checks every request passes, the way from a partition to its disk, the
// figures, and the sleeping helper. Between fs/ (which submits) and drivers/ (which do the work);
// stage 6 of the read path passes through block_submit and block_complete on a miss.
//
//	block_submit -> range, read-only, alignment -> disk->submit ... block_complete -> request->done
//	                     | refused
//	                     +-> `refused` list, a fast WTD -> request->done (never from inside submit)
#include "kernel/block.h"
#include "kernel/console.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "kernel/timer.h"
#include "kernel/vmm.h"
#include "kernel/wtd.h"

static struct block_device *first, **last = &first; // written at boot only

static void complete_refused(struct wtd *work);
static struct spinlock refused_lock = SPINLOCK_INIT("block refused", RANK_BLOCK);
static struct block_request *refused; // (refused_lock)
static struct wtd refused_work = WTD_INIT(complete_refused, "block refused");
static uint64_t refused_count;
KSTAT_COUNTER(refused_count, "pagewire_block_refused_total",
	      "Requests outside their device, misaligned, or writes to a read-only one.");

void block_register(struct block_device *dev)
{
	dev->next = NULL;
	*last = dev;
	last = &dev->next;
}

struct block_device *block_first(void)
{
	return first;
}

static struct block_device *disk_of(struct block_device *dev)
{
	return dev->parent ? dev->parent : dev;
}

// 0, or why the request cannot be asked of the device. *sectors: its length in 512-byte units.
static int check(const struct block_device *dev, const struct block_request *r, uint64_t *sectors)
{
	*sectors = 0;
	if (r->op == BLOCK_FLUSH)
		return 0;
	if (r->op != BLOCK_READ && r->op != BLOCK_WRITE)
		return -EINVAL;
	if (!r->nsegs || r->nsegs > dev->max_segs)
		return -EINVAL;
	uint64_t bytes = 0;
	for (uint32_t n = 0; n < r->nsegs; n++) {
		if (!r->segs[n].bytes || r->segs[n].bytes & ((1u << SECTOR_SHIFT) - 1) ||
		    r->segs[n].addr & 1)
			return -EINVAL;
		bytes += r->segs[n].bytes;
	}
	*sectors = bytes >> SECTOR_SHIFT;
	if (*sectors > dev->max_sectors || *sectors > dev->sectors ||
	    r->lba > dev->sectors - *sectors)
		return -EINVAL;
	uint64_t first_byte = (r->lba + dev->start) << SECTOR_SHIFT;
	if (first_byte % dev->sector_bytes || bytes % dev->sector_bytes)
		return -EINVAL;
	return r->op == BLOCK_WRITE && dev->read_only ? -EROFS : 0;
}

static void refuse(struct block_request *r, int status)
{
	r->status = status;
	refused_count++;
	spin_lock_wtd(&refused_lock);
	r->next = refused;
	refused = r;
	spin_unlock_wtd(&refused_lock);
	wtd_post_fast(&refused_work);
}

static void complete_refused(struct wtd *work)
{
	spin_lock_wtd(&refused_lock);
	struct block_request *list = refused;
	refused = NULL;
	spin_unlock_wtd(&refused_lock);
	while (list) {
		struct block_request *r = list;
		list = r->next;
		r->done(r);
	}
}

// Figures are written between wtd_disable and wtd_enable, or in fast WTDs.
static void account_start(struct block_device *dev, enum block_op op, uint64_t sectors)
{
	dev->ops[op]++;
	dev->sector_count[op] += sectors;
	if (++dev->in_flight > dev->in_flight_high)
		dev->in_flight_high = dev->in_flight;
}

static void account_end(struct block_device *dev, const struct block_request *r)
{
	ASSERT(dev->in_flight);
	dev->in_flight--;
	dev->retries += r->tries > 1 ? r->tries - 1 : 0;
	dev->errors += r->status < 0;
}

void block_submit(struct block_device *dev, struct block_request *r)
{
	struct block_device *disk = disk_of(dev);
	uint64_t sectors;
	int error = check(dev, r, &sectors);
	if (error) {
		refuse(r, error);
		return;
	}
	r->dev = dev;
	r->disk_lba = r->lba + dev->start;
	r->tries = 0;
	r->started = clock_cycles();
	wtd_disable();
	account_start(dev, r->op, sectors);
	if (disk != dev)
		account_start(disk, r->op, sectors);
	wtd_enable();
	disk->submit(disk, r);
}

void block_complete(struct block_request *r, int status)
{
	struct block_device *dev = r->dev, *disk = disk_of(dev);
	r->status = status;
	account_end(dev, r);
	if (disk != dev)
		account_end(disk, r);
	r->done(r);
}

struct sync_wait {
	struct block_request request;
	struct spinlock lock;
	struct waitq waitq;
	bool over; // (lock)
};

static void sync_done(struct block_request *r)
{
	struct sync_wait *wait = CONTAINER_OF(r, struct sync_wait, request);
	spin_lock_wtd(&wait->lock);
	wait->over = true;
	waitq_wake_one(&wait->waitq);
	spin_unlock_wtd(&wait->lock);
}

static int submit_and_wait(struct block_device *dev, enum block_op op, uint64_t lba,
			   const struct block_seg *seg)
{
	struct sync_wait wait = {
	    .request = {.op = op, .lba = lba, .segs = seg, .nsegs = seg ? 1 : 0, .done = sync_done},
	    .lock = SPINLOCK_INIT("block sync", RANK_BLOCK),
	};
	waitq_init(&wait.waitq);
	block_submit(dev, &wait.request);
	spin_lock_wtd(&wait.lock);
	while (!wait.over)
		waitq_sleep(&wait.waitq, &wait.lock);
	spin_unlock_wtd(&wait.lock);
	return wait.request.status;
}

int block_rw_sync(struct block_device *dev, enum block_op op, uint64_t lba, void *buffer,
		  uint32_t bytes)
{
	assert_may_sleep("block_rw_sync");
	if (op == BLOCK_FLUSH)
		return submit_and_wait(dev, op, 0, NULL);
	uint64_t step = (uint64_t)dev->max_sectors << SECTOR_SHIFT;
	paddr_t addr = virt_to_phys(buffer);
	do {
		struct block_seg seg = {.addr = addr, .bytes = (uint32_t)MIN(bytes, step)};
		int error = submit_and_wait(dev, op, lba, &seg);
		if (error)
			return error;
		addr += seg.bytes;
		lba += seg.bytes >> SECTOR_SHIFT;
		bytes -= seg.bytes;
	} while (bytes);
	return 0;
}

static void flush_disks(void)
{
	for (struct block_device *dev = first; dev; dev = dev->next)
		if (!dev->parent && !dev->read_only && dev->ops[BLOCK_WRITE] &&
		    block_rw_sync(dev, BLOCK_FLUSH, 0, NULL, 0))
			kprintf("%s: the disk's cache could not be written\n", dev->name);
}
SHUTDOWN_STEP(disks, 90, "Writing the disks' caches", flush_disks);

// One family: a line a disk. Partitions are counted in their disk.
struct disk_metric {
	const char *name, *type, *help;
	uint64_t (*value)(const struct block_device *dev);
};

static uint64_t reads(const struct block_device *dev)
{
	return dev->ops[BLOCK_READ];
}
static uint64_t writes(const struct block_device *dev)
{
	return dev->ops[BLOCK_WRITE];
}
static uint64_t flushes(const struct block_device *dev)
{
	return dev->ops[BLOCK_FLUSH];
}
static uint64_t read_bytes(const struct block_device *dev)
{
	return dev->sector_count[BLOCK_READ] << SECTOR_SHIFT;
}
static uint64_t written_bytes(const struct block_device *dev)
{
	return dev->sector_count[BLOCK_WRITE] << SECTOR_SHIFT;
}
static uint64_t errors(const struct block_device *dev)
{
	return dev->errors;
}
static uint64_t retries(const struct block_device *dev)
{
	return dev->retries;
}
static uint64_t in_flight(const struct block_device *dev)
{
	return dev->in_flight;
}
static uint64_t in_flight_high(const struct block_device *dev)
{
	return dev->in_flight_high;
}

static const struct disk_metric metrics[] = {
    {"pagewire_disk_reads_total", "counter", "Read requests.", reads},
    {"pagewire_disk_writes_total", "counter", "Write requests.", writes},
    {"pagewire_disk_flushes_total", "counter", "Flush requests.", flushes},
    {"pagewire_disk_read_bytes_total", "counter", "Bytes asked for by reads.", read_bytes},
    {"pagewire_disk_written_bytes_total", "counter", "Bytes of writes.", written_bytes},
    {"pagewire_disk_errors_total", "counter", "Requests that failed for good.", errors},
    {"pagewire_disk_retries_total", "counter", "Requests repeated after an error.", retries},
    {"pagewire_disk_in_flight", "gauge", "Requests asked for and not yet over.", in_flight},
    {"pagewire_disk_in_flight_high", "gauge", "The most there ever were.", in_flight_high},
};

static void write_metrics(void (*emit)(void *ctx, const char *format, ...), void *ctx)
{
	if (!first)
		return;
	for (size_t n = 0; n < ARRAY_SIZE(metrics); n++) {
		emit(ctx, "# HELP %s %s\n# TYPE %s %s\n", metrics[n].name, metrics[n].help,
		     metrics[n].name, metrics[n].type);
		for (const struct block_device *dev = first; dev; dev = dev->next)
			if (!dev->parent)
				emit(ctx, "%s{disk=\"%s\"} %lu\n", metrics[n].name, dev->name,
				     (unsigned long)metrics[n].value(dev));
	}
}
KSTAT_FAMILY(disks, write_metrics);
