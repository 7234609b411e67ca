// SPDX-License-Identifier: BSD-2-Clause
// What an ATA disk says of itself, and the commands it takes. ATA8-ACS names.
#pragma once

#include "kernel/base.h"

enum ata_command {
	ATA_READ_DMA_EXT = 0x25,
	ATA_READ_LOG_EXT = 0x2f,
	ATA_WRITE_DMA_EXT = 0x35,
	ATA_WRITE_DMA_FUA_EXT = 0x3d,
	ATA_READ_FPDMA_QUEUED = 0x60,
	ATA_WRITE_FPDMA_QUEUED = 0x61,
	ATA_CHECK_POWER_MODE = 0xe5,
	ATA_FLUSH_CACHE = 0xe7,
	ATA_FLUSH_CACHE_EXT = 0xea,
	ATA_IDENTIFY_DEVICE = 0xec,
};
#define ATA_LOG_NCQ_ERROR 0x10

struct ata_identity {
	char model[41], serial[21];
	uint64_t sectors; // of sector_bytes
	uint32_t sector_bytes;
	uint32_t queue_depth; // 0: no native command queuing
	bool write_cache;     // enabled now
	bool flush_ext;
	bool fua; // WRITE DMA FUA EXT
};

// Pure. Reads the 256 words of IDENTIFY DEVICE (ATA8-ACS section 7.16). Null, or why the disk cannot be
// used.
const char *ata_parse_identity(const uint16_t words[256], struct ata_identity *out);

// Pure. The NCQ error log (ATA8-ACS table A.11): the tag of the command that failed, or -1 when the page
// does not name one.
int ata_parse_ncq_error(const uint8_t page[512]);
