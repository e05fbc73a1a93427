// TLS as both ends of a link and the port for clients use it: version 1.3, and certificates of a
// private CA.
// Inside common/io only.
#pragma once

#include <string>

#include "common/base/result.hpp"
#include "common/io/beast.hpp"
#include "common/io/web_socket_link.hpp"

namespace dstm::io {

enum class PeerCertificate {
    required,
    optional,  // asked for if there is a CA; what is shown must be from there
    of_server,  // required, from the system's CAs if none is named; our own may be absent
};

// invalid: a file is missing or broken, or the key is not the certificate's; the context says
// which.
[[nodiscard]] Result<ssl::context> make_tls_context(
    const TlsFiles& files, PeerCertificate peer = PeerCertificate::required);

// The server's certificate must be for `host`, a DNS name or an address.
[[nodiscard]] Result<void> expect_host(TlsStream& stream, const std::string& host);

// The one subject CN of the other side's certificate; refused when there is none or several.
[[nodiscard]] Result<std::string> peer_common_name(TlsStream& stream);

}  // namespace dstm::io
