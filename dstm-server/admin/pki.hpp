// A private CA for a first installation: the certificates with which endpoints and servers know
// each other. Files in PEM in one directory; keys are EC P-256 with mode 0600.
//
// Not a CA product: nothing is revoked, a lost key means a new CA. A campus with a CA of its own
// does without; docs/wire/endpoint-link.md says what a certificate must hold.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "common/base/result.hpp"

namespace dstm::server {

// Certificates count from here; backwards by a little, for clocks that are not quite right.
struct CertificateTimes {
    std::chrono::seconds begins = std::chrono::hours(-1);  // relative to now
    std::chrono::seconds ends = std::chrono::hours(24 * 730);
};
inline constexpr CertificateTimes ca_times{std::chrono::hours(-1), std::chrono::hours(24 * 3650)};

// Writes `directory`/ca.crt and ca.key; makes the directory (0700) when it is not there.
// conflict: a CA is there already, it is never overwritten.
[[nodiscard]] Result<void> pki_init(const std::string& directory, const std::string& common_name,
                                    CertificateTimes times = ca_times);

// Writes `directory`/`name`.crt and .key, signed by the CA there. The subject CN is `name`; the
// subject alternative names are `name` and `hosts`, names or addresses. For servers and endpoints
// alike. invalid: not a name. not_found: no CA. conflict: such files are there already.
[[nodiscard]] Result<void> pki_issue(const std::string& directory, const std::string& name,
                                     const std::vector<std::string>& hosts = {},
                                     CertificateTimes times = {});

// `dstmctl pki ...`: init | issue NAME [HOST...], each with --directory DIR (/etc/dstm/pki). What
// was done goes to standard output, errors to standard error. Exit code: 0, 1 failed, 2 usage.
[[nodiscard]] int run_pki(const std::vector<std::string>& arguments);

}  // namespace dstm::server
