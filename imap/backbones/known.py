"""Video pipelines of diffusers that imap does not trace yet, and why. A family that is done leaves this table."""

_NO_FAMILY = "no family reads its blocks yet"
_WAN_BUILD = "it is built on Wan, but its transformer is another class, and no family reads it yet"
_HISTORY = "earlier frames of the video come before its tokens, and it samples in sections with a schedule each"
_COSMOS = "its padded text has keys of zero, which set no patch of the video apart, and maps compare words with it"
_COSMOS25 = "its cross-attention reads a pair of text and picture, and a second network steers its blocks"
_EASYANIMATE = "its transformer gets its arguments by position, and a trace finds them by name"
_KANDINSKY = "its attention has no to_out, and text runs through blocks of its own; no family reads them yet"
_LTX2 = "it has conditions among its tokens that no family of LTX-2 knows; use LTX2Pipeline.from_pipe(pipe)"
_MOTIF = "it mixes dual and single streams with cross-attention, and its guidance is an object (guider)"
_SANA = "its self-attention is linear, and it picks some of the text's tokens"
_AUDIO = "it makes sound beside the video, and " + _NO_FAMILY

NOT_TRACED = {  # pipeline class: reason
    "AnyFlowFARPipeline": "it samples in chunks with a cache of keys and values, and a trace takes one schedule",
    "ChronoEditPipeline": _WAN_BUILD,
    "ConsisIDPipeline": "its blocks are those of CogVideoX with face tokens between them; " + _NO_FAMILY,
    "CosmosTextToWorldPipeline": _COSMOS,
    "CosmosVideoToWorldPipeline": _COSMOS,
    "Cosmos2VideoToWorldPipeline": _COSMOS,
    "Cosmos2_5_TransferPipeline": _COSMOS25,
    "Cosmos3OmniPipeline": "it has no text encoder: token ids go into its transformer, so words have no embeddings",
    "EasyAnimatePipeline": _EASYANIMATE,
    "EasyAnimateControlPipeline": _EASYANIMATE,
    "EasyAnimateInpaintPipeline": _EASYANIMATE,
    "HeliosPipeline": _HISTORY,
    "HeliosPyramidPipeline": _HISTORY,
    "HunyuanVideoImageToVideoPipeline": "its text encoder reads every text after the picture, and concepts have none",
    "Kandinsky5T2VPipeline": _KANDINSKY,
    "Kandinsky5I2VPipeline": _KANDINSKY,
    "Kandinsky6TI2VAPipeline": _AUDIO,
    "Kandinsky6SRPipeline": "it enlarges a video, and reads no text",
    "LTX2ConditionPipeline": _LTX2,
    "LTX2DFRPipeline": _LTX2,
    "LTX2DFRTemporalRefinePipeline": _LTX2,
    "LTX2HDRPipeline": _LTX2,
    "LTX2InContextPipeline": _LTX2,
    "LattePipeline": "its batch holds frames in half of its blocks, and a trace reads one row for a video",
    "MotifVideoPipeline": _MOTIF,
    "MotifVideoImage2VideoPipeline": _MOTIF,
    "SanaVideoPipeline": _SANA,
    "SanaImageToVideoPipeline": _SANA,
    "SanaWMPipeline": _SANA,
    "WanAnimatePipeline": "its first latent frame is a picture, and it samples in segments with a schedule each",
}
