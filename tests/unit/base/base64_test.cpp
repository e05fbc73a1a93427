#include "common/base/base64.hpp"

#include <random>

#include <gtest/gtest.h>

namespace dstm {
namespace {

TEST(Base64, EncodesTheVectorsOfRfc4648) {
    EXPECT_EQ(encode_base64(""), "");
    EXPECT_EQ(encode_base64("f"), "Zg==");
    EXPECT_EQ(encode_base64("fo"), "Zm8=");
    EXPECT_EQ(encode_base64("foo"), "Zm9v");
    EXPECT_EQ(encode_base64("foob"), "Zm9vYg==");
    EXPECT_EQ(encode_base64("fooba"), "Zm9vYmE=");
    EXPECT_EQ(encode_base64("foobar"), "Zm9vYmFy");
}

TEST(Base64, DecodesWhatItEncodes) {
    std::mt19937 random(1);
    for (std::size_t size = 0; size < 200; ++size) {
        std::string bytes(size, '\0');
        for (auto& byte : bytes) byte = static_cast<char>(random());
        EXPECT_EQ(decode_base64(encode_base64(bytes)), bytes) << size;
    }
}

TEST(Base64, RefusesForeignCharactersLengthsAndPadding) {
    for (const auto* bad : {"Z", "Zg", "Zg=", "Zg==Zg==", "Z===", "====", "Zm 9", "Zm9v\r\n",
                            "Zm9-", "Zm9_", "=m9v", "Zm9v="}) {
        EXPECT_FALSE(decode_base64(bad)) << bad;
    }
    EXPECT_FALSE(decode_base64(std::string_view("Zm9\0", 4)));
}

TEST(Base64, IgnoresBitsThatThePaddingCutsOff) { EXPECT_EQ(decode_base64("Zh=="), "f"); }

}  // namespace
}  // namespace dstm
