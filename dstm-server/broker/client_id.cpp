// SHA-256 by OpenSSL. See client_id.hpp.
#include "dstm-server/broker/client_id.hpp"

#include <algorithm>
#include <array>
#include <string>

#include <openssl/evp.h>

#include "common/base/assert.hpp"

namespace dstm::server {

ClientId make_client_id(std::string_view user, std::string_view host) {
    DSTM_ASSERT(host.find('\0') == std::string_view::npos);
    std::string input = "dstm";
    input.push_back('\0');
    input.append(user);
    input.push_back('\0');
    input.append(host);

    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    const int ok =
        EVP_Digest(input.data(), input.size(), digest.data(), &size, EVP_sha256(), nullptr);
    DSTM_ASSERT(ok == 1 && size == 32);

    constexpr std::size_t used = 19;
    ClientId id(1 + used);  // the type byte stays 0
    std::copy_n(digest.begin(), used, id.begin() + 1);
    return id;
}

}  // namespace dstm::server
