// SPDX-License-Identifier: BSD-2-Clause
// Reading what an ATA disk says of itself. Pure; any context.
#include "drivers/ata.h"
#include "kernel/kstring.h"

enum identify_word {
	WORD_SERIAL = 10,
	WORD_MODEL = 27,
	WORD_QUEUE_DEPTH = 75,
	WORD_SATA_CAPABILITIES = 76,
	WORD_FEATURES_83 = 83,
	WORD_FEATURES_84 = 84,
	WORD_ENABLED_85 = 85,
	WORD_SECTORS_48 = 100, // four words
	WORD_SECTOR_SIZE = 106,
	WORD_SECTOR_WORDS = 117, // two words: 16-bit words in a logical sector
};
#define SATA_NCQ	   BIT(8)
#define FEATURE_LBA48	   BIT(10)
#define FEATURE_FLUSH_EXT  BIT(13)
#define FEATURE_FUA	   BIT(6)
#define ENABLED_CACHE	   BIT(5)
#define SECTOR_SIZE_LONG   BIT(12)
#define VALIDITY_MASK	   0xc000 // words 83, 84 and 106 hold something when bits 15:14 are 01
#define VALIDITY_OK	   0x4000
#define SECTOR_BYTES_LEAST 512
#define SECTOR_BYTES_MOST  4096

// Two characters a word, the first in the high byte; blanks at the end.
static void read_text(const uint16_t *words, unsigned count, char *out)
{
	size_t len = 0;
	for (unsigned n = 0; n < count; n++)
		for (int shift = 8; shift >= 0; shift -= 8) {
			char c = (char)(words[n] >> shift & 0xff);
			out[len++] = c >= ' ' && c <= '~' ? c : ' ';
		}
	while (len && out[len - 1] == ' ')
		len--;
	out[len] = 0;
	size_t skip = 0;
	while (out[skip] == ' ')
		skip++;
	memmove(out, out + skip, len - skip + 1);
}

static bool valid(uint16_t word)
{
	return (word & VALIDITY_MASK) == VALIDITY_OK;
}

const char *ata_parse_identity(const uint16_t words[256], struct ata_identity *out)
{
	struct ata_identity id = {.sector_bytes = SECTOR_BYTES_LEAST};
	read_text(words + WORD_SERIAL, 10, id.serial);
	read_text(words + WORD_MODEL, 20, id.model);
	*out = id;
	if (!valid(words[WORD_FEATURES_83]) || !(words[WORD_FEATURES_83] & FEATURE_LBA48))
		return "no 48-bit addressing";
	for (int n = 3; n >= 0; n--)
		id.sectors = id.sectors << 16 | words[WORD_SECTORS_48 + n];
	if (valid(words[WORD_SECTOR_SIZE]) && words[WORD_SECTOR_SIZE] & SECTOR_SIZE_LONG)
		id.sector_bytes =
		    2 * ((uint32_t)words[WORD_SECTOR_WORDS + 1] << 16 | words[WORD_SECTOR_WORDS]);
	if (id.sector_bytes != SECTOR_BYTES_LEAST && id.sector_bytes != SECTOR_BYTES_MOST)
		return "a sector size other than 512 and 4096";
	if (!id.sectors || id.sectors >> 48)
		return "no capacity";
	if (words[WORD_SATA_CAPABILITIES] != 0xffff && words[WORD_SATA_CAPABILITIES] & SATA_NCQ)
		id.queue_depth = (words[WORD_QUEUE_DEPTH] & 0x1f) + 1u;
	id.write_cache = words[WORD_ENABLED_85] & ENABLED_CACHE;
	id.flush_ext = words[WORD_FEATURES_83] & FEATURE_FLUSH_EXT;
	id.fua = valid(words[WORD_FEATURES_84]) && words[WORD_FEATURES_84] & FEATURE_FUA;
	*out = id;
	return NULL;
}

int ata_parse_ncq_error(const uint8_t page[512])
{
	uint8_t sum = 0;
	bool empty = true;
	for (int n = 0; n < 512; n++) {
		sum = (uint8_t)(sum + page[n]);
		empty = empty && !page[n];
	}
	if (sum || empty || page[0] & 0x80)
		return -1;
	return page[0] & 0x1f;
}
