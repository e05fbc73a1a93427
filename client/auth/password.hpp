// Where the user's password comes from. Never the command line.
#pragma once

#include <string>

#include "common/base/result.hpp"
#include "common/base/secret.hpp"

namespace dstm::client {

// The first of these that is there: the configured file (refused when group or others may read it),
// dstm-password in systemd's $CREDENTIALS_DIRECTORY, $DSTM_PASSWORD. not_found: none is.
[[nodiscard]] Result<Secret> find_password(const std::string& configured_file);

}  // namespace dstm::client
