// SPDX-License-Identifier: BSD-2-Clause
// lwip_check.h asks for it; nothing is configured.
#pragma once
