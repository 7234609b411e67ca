// SPDX-License-Identifier: BSD-2-Clause
// The oracle: a directory of the host compared with a directory of a volume, everything that can be
// compared, byte for byte. Files with holes are compared where they have data, and sampled
// elsewhere.
#pragma once

#include "image_meta.h"

#define EXT4_IMAGES "build/host/ext4"

// Runs tests/host/ext4_images.py GROUP EXT4_IMAGES/GROUP.
void ext4_make_images(const char *group);
// Fails the test at the first difference. Returns how many files, directories and links were
// compared.
unsigned ext4_compare_tree(struct image *image, struct inode *dir, const char *host_path,
			   bool root);
// Reads everything there is, whatever it is, and ignores errors: for damaged images. Returns the
// number of errors. The work is bounded.
unsigned ext4_read_everything(struct image *image);
