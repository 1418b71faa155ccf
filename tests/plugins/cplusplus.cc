// A plugin in C++17: the state of a connection is an object, made in on_open and ended in on_close.
// Exceptions stay inside: each callback that may throw catches what it throws.
#include <enchufe/plugin.h>
#include <map>
#include <new>
#include <string>

namespace
{

class Words
{
  public:
    // Returns how often the word was said, this time included.
    int add(const std::string &word)
    {
        return ++counts_[word];
    }

  private:
    std::map<std::string, int> counts_;
};

Words *words_of(enchufe_conn *conn)
{
    return static_cast<Words *>(enchufe_conn_state(conn));
}

void words_on_open(enchufe_conn *conn)
{
    new (enchufe_conn_state(conn)) Words();
}

void words_on_message(enchufe_conn *conn, const void *data, size_t len)
{
    try {
        const std::string word(static_cast<const char *>(data), len);
        const std::string answer = word + " " + std::to_string(words_of(conn)->add(word)) + "\n";
        enchufe_write(conn, answer.data(), answer.size());
    } catch (const std::exception &) {
        enchufe_abort(conn);
    }
}

void words_on_close(enchufe_conn *conn, int)
{
    words_of(conn)->~Words();
}

const enchufe_framing words_framing = {
    .type = ENCHUFE_FRAMING_LINE,
    .length_size = 0,
    .little_endian = false,
    .delimiter_len = 0,
    .reserved = 0,
    .max = 1000,
    .delimiter = nullptr,
};

} // namespace

ENCHUFE_PLUGIN(.name = "cplusplus", .version = "1.0", .summary = "counts words, in C++",
               .conn_size = sizeof(Words), .framing = &words_framing, .on_open = words_on_open,
               .on_message = words_on_message, .on_close = words_on_close);
