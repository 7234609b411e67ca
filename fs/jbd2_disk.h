// SPDX-License-Identifier: BSD-2-Clause
// jbd2's log as it lies on the disk: big-endian, and read byte by byte, because tags are not
// aligned.
#pragma once

#include "kernel/base.h"

static inline uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static inline uint64_t be64(const uint8_t *p)
{
	return (uint64_t)be32(p) << 32 | be32(p + 4);
}
static inline void put_be32(uint8_t *p, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(value >> (24 - 8 * i));
}

// Every block of the log that is not data begins with magic, type, sequence number.
#define JBD2_HEADER_BYTES 12
#define JBD2_TAIL_BYTES	  4 // checksum at the end of descriptor and revoke blocks
#define JBD2_UUID_BYTES	  16
enum jbd2_block_type {
	JBD2_DESCRIPTOR = 1,
	JBD2_COMMIT = 2,
	JBD2_SUPER_V1 = 3,
	JBD2_SUPER_V2 = 4,
	JBD2_REVOKE = 5,
};

// The superblock's fields, by offset.
#define JBD2_SUPER_BYTES 1024
enum jbd2_super_offset {
	JBD2_S_BLOCKSIZE = 0x0c,
	JBD2_S_MAXLEN = 0x10,
	JBD2_S_FIRST = 0x14,
	JBD2_S_SEQUENCE = 0x18,
	JBD2_S_START = 0x1c, // 0: nothing to replay
	JBD2_S_ERRNO = 0x20,
	JBD2_S_COMPAT = 0x24,
	JBD2_S_INCOMPAT = 0x28,
	JBD2_S_UUID = 0x30,
	JBD2_S_CHECKSUM_TYPE = 0x50,
	JBD2_S_CHECKSUM = 0xfc,
};
enum jbd2_checksum_type { JBD2_CHECKSUM_CRC32 = 1, JBD2_CHECKSUM_CRC32C = 4 };
enum jbd2_compat { JBD2_COMPAT_CHECKSUM = 0x1 };
enum jbd2_incompat {
	JBD2_INCOMPAT_REVOKE = 0x1,
	JBD2_INCOMPAT_64BIT = 0x2,
	JBD2_INCOMPAT_ASYNC_COMMIT = 0x4,
	JBD2_INCOMPAT_CSUM_V2 = 0x8,
	JBD2_INCOMPAT_CSUM_V3 = 0x10,
	JBD2_INCOMPAT_FAST_COMMIT = 0x20,
	JBD2_INCOMPAT_READ = 0x1f,
};

enum jbd2_tag_flag {
	JBD2_FLAG_ESCAPE = 0x1,
	JBD2_FLAG_SAME_UUID = 0x2,
	JBD2_FLAG_LAST_TAG = 0x8,
};

// The commit block's fields, by offset.
enum jbd2_commit_offset {
	JBD2_COMMIT_CHECKSUM_TYPE = 12,
	JBD2_COMMIT_CHECKSUM_SIZE = 13,
	JBD2_COMMIT_CHECKSUM = 16,
	JBD2_COMMIT_SEC = 48,
	JBD2_COMMIT_BYTES = 60,
};

// Version 1's checksum: CRC-32 with the uppermost bit first, over the blocks of a transaction.
static inline uint32_t jbd2_crc32_be(uint32_t crc, const uint8_t *data, size_t len)
{
	for (; len; data++, len--) {
		crc ^= (uint32_t)*data << 24;
		for (int bit = 0; bit < 8; bit++)
			crc = crc << 1 ^ (crc & 0x80000000U ? 0x04c11db7U : 0);
	}
	return crc;
}
