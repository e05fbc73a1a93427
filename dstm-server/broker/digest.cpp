// SHA-256 by OpenSSL. See digest.hpp.
#include "dstm-server/broker/digest.hpp"

#include <openssl/evp.h>

#include "common/base/assert.hpp"

namespace dstm::server {

std::array<std::uint8_t, 32> sha256(std::string_view input) {
    std::array<std::uint8_t, 32> digest{};
    unsigned int size = 0;
    const int ok =
        EVP_Digest(input.data(), input.size(), digest.data(), &size, EVP_sha256(), nullptr);
    DSTM_ASSERT(ok == 1 && size == digest.size());
    return digest;
}

}  // namespace dstm::server
