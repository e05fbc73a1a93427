// What the settings and the command line mean to each part of the process. Makes none of them.
#pragma once

#include <string>
#include <vector>

#include "client/config.hpp"
#include "client/daemon.hpp"
#include "client/engine_values.hpp"
#include "client/host/tunnel_host.hpp"
#include "client/net/signalling.hpp"

namespace dstm::client {

// What is wrong with the files that the configuration names, each with file, line and path. On
// another host, or before the password is written, they `may_be_missing`.
[[nodiscard]] Mistakes unusable_files(const Settings& settings, bool may_be_missing);
// With the password, if a mechanism asks for one; fails as find_password() does.
[[nodiscard]] Result<Identity> identity_of(const Settings& settings);
// With a seed of its own.
[[nodiscard]] EngineConfig engine_config(const Settings& settings, const RunOptions& options,
                                         const std::string& host_id);
[[nodiscard]] TunnelHostConfig host_config(const Settings& settings);
[[nodiscard]] SignallingConfig signalling_config(const Settings& settings, Identity identity);
// What is looked for in the DNS, by the transports in their order.
[[nodiscard]] std::vector<std::string> services_of(const Settings& settings);

}  // namespace dstm::client
