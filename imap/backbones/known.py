"""Video pipelines of diffusers that imap does not trace yet, and why. A family that is done leaves this table."""

_NO_FAMILY = "no family reads its blocks yet"
_HISTORY = "earlier frames of the video come before its tokens, and it samples in sections with a schedule each"
_COSMOS = "its padded text has keys of zero, for which all patches are equal, and maps compare words with it"
_COSMOS25 = "its cross-attention reads a pair of text and picture, and a second network steers its blocks"
_EASYANIMATE = "it has a mask or a control video beside the noise, which no family reads; use EasyAnimatePipeline"
_LTX2 = "it has conditions among its tokens that no family of LTX-2 knows; use LTX2Pipeline.from_pipe(pipe)"
_SANA = "its first latent frame is a picture at another timestep, and no family reads that yet"
_AUDIO = "it makes sound beside the video, and " + _NO_FAMILY

NOT_TRACED = {  # pipeline class: reason
    "AnyFlowFARPipeline": "it samples in chunks with a cache of keys and values, and a trace takes one schedule",
    "ConsisIDPipeline": "it is CogVideoX with attention to a face between its blocks; " + _NO_FAMILY,
    "CosmosTextToWorldPipeline": _COSMOS,
    "CosmosVideoToWorldPipeline": _COSMOS,
    "Cosmos2VideoToWorldPipeline": _COSMOS,
    "Cosmos2_5_TransferPipeline": _COSMOS25,
    "Cosmos3OmniPipeline": "it has no text encoder: token ids go into its transformer, so words have no embeddings",
    "EasyAnimateControlPipeline": _EASYANIMATE,
    "EasyAnimateInpaintPipeline": _EASYANIMATE,
    "HeliosPipeline": _HISTORY,
    "HeliosPyramidPipeline": _HISTORY,
    "Kandinsky5I2VPipeline": "its first latent frame is a picture, and it rescales the first four after its last step",
    "Kandinsky6TI2VAPipeline": _AUDIO,
    "Kandinsky6SRPipeline": "it enlarges a video, and reads no text",
    "LTX2ConditionPipeline": _LTX2,
    "LTX2DFRPipeline": _LTX2,
    "LTX2DFRTemporalRefinePipeline": _LTX2,
    "LTX2HDRPipeline": _LTX2,
    "LTX2InContextPipeline": _LTX2,
    "LattePipeline": "its batch holds frames in the blocks that read text, and a trace reads one row for a video",
    "SanaImageToVideoPipeline": _SANA,
    "SanaWMPipeline": "its attention has modules of other names, and cameras steer its blocks; " + _NO_FAMILY,
    "WanAnimatePipeline": "its first latent frame is a picture, and it samples in segments with a schedule each",
}
